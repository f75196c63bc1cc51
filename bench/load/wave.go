package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A wave is many machines that come back at once: each renews its own certificate over a connection of its own, and
// comes again when it is turned away, after the time that it is told or a few seconds. It is over when each has its
// new certificate, or when one has tried too often.
type wave struct {
	ca      *authority
	job     *job
	conns   int           // at a time: what the machine of the generator bears
	arrival time.Duration // all come within this time
	start   time.Time
	sockets chan struct{}
	failed  atomic.Bool
}

const (
	attemptsMost = 60
	pauseLeast   = time.Second
	pauseMost    = 10 * time.Second
)

func (w *wave) run() *outcome {
	w.start = time.Now()
	w.sockets = make(chan struct{}, w.conns)
	results := make([]outcome, runtime.NumCPU()*4)
	locks := make([]sync.Mutex, len(results))
	for i := range results {
		results[i].errors = map[string]int{}
	}
	var group sync.WaitGroup
	for client := range w.job.operations {
		group.Go(func() {
			time.Sleep(rand.N(w.arrival + 1))
			one := w.client(client)
			part := client % len(results)
			locks[part].Lock()
			results[part].add(one)
			locks[part].Unlock()
		})
	}
	group.Wait()
	total := &outcome{errors: map[string]int{}}
	for i := range results {
		total.add(&results[i])
	}
	return total
}

// client is one machine, until it has its certificate.
func (w *wave) client(number int) *outcome {
	one := &outcome{errors: map[string]int{}}
	due := time.Since(w.start)
	for attempt := 0; attempt < attemptsMost && !w.failed.Load(); attempt++ {
		status, pause, body, err := w.attempt(number)
		switch {
		case err == nil && status == w.job.good:
			ended := time.Since(w.start)
			one.good, one.length = 1, ended
			one.answers = append(one.answers, answer{due, ended - due, 0, status})
			if number < keptFirst || number%keptEvery == 0 {
				one.kept = append(one.kept, kept{0, number, body})
			}
			return one
		case err == nil && status != 503:
			one.errors[fmt.Sprintf("status %d", status)]++
			w.failed.Store(true)
			return one
		default:
			one.shed++
			time.Sleep(pause)
		}
	}
	one.errors["gave up"]++
	w.failed.Store(true)
	return one
}

// attempt is one connection with one request; pause is how long to stay away if it was turned away.
func (w *wave) attempt(number int) (status int, pause time.Duration, body []byte, err error) {
	w.sockets <- struct{}{}
	defer func() { <-w.sockets }()
	l := line{end: w.ca.endpoint, config: w.job.config(0, number)}
	defer l.close()
	pause = pauseLeast + rand.N(pauseMost-pauseLeast)
	status, body, err = l.ask(w.job.request(nil, number))
	if err == nil && l.retryAfter != "" {
		seconds, wrong := strconv.Atoi(l.retryAfter)
		if wrong != nil {
			return 0, pause, nil, errors.Join(wrong, io.ErrUnexpectedEOF)
		}
		pause = time.Duration(seconds)*time.Second + rand.N(time.Second)
	}
	return status, pause, body, err
}
