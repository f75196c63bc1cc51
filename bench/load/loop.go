package main

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	keptFirst = 4   // answers of a run that are kept for verification,
	keptEvery = 100 // and then every so many
)

// An answer is how one request went. Times count from the start of the run.
type answer struct {
	due    time.Duration // when it was to be sent: in a closed loop, when it was
	took   time.Duration // from then to the end of the answer
	late   time.Duration // how long after due an idle worker sent it: the generator's own fault
	status int           // 0: no answer
}

// An outcome is everything a run brought.
type outcome struct {
	answers   []answer
	kept      []kept
	errors    map[string]int
	good      int
	shed      int
	length    time.Duration // to the end of the last answer
	exhausted bool
}

func (o *outcome) rate() float64 {
	if o.length <= 0 {
		return 0
	}
	return float64(o.good) / o.length.Seconds()
}

// A loop sends the operations of a job over some connections: closed, each connection sends its next request when it
// has the answer to the last; or open, every request is due at its time, and its latency counts from there.
type loop struct {
	ca       *authority
	job      *job
	conns    int
	rate     float64       // a second; 0: closed
	length   time.Duration // 0: until the operations are used up
	overload bool

	workers []*worker
	start   time.Time
	next    atomic.Int64
	most    int64
}

type worker struct {
	number int
	line   line
	buffer []byte
	outcome
}

// connect opens the connections, unless every request is to have its own.
func (l *loop) connect() error {
	l.workers = make([]*worker, l.conns)
	for i := range l.workers {
		w := &worker{number: i, outcome: outcome{errors: map[string]int{}, answers: make([]answer, 0, 4096)}}
		w.line = line{end: l.ca.endpoint, config: l.job.config(i, i)}
		l.workers[i] = w
	}
	return spread(len(l.workers), func(i int) error {
		if l.job.fresh {
			return nil
		}
		if err := l.workers[i].line.open(); err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
		return nil
	})
}

// run is the timed part. The connections are closed after it.
func (l *loop) run() *outcome {
	l.most = int64(l.job.operations)
	if l.rate > 0 {
		due := int64(l.rate * l.length.Seconds())
		if l.most == 0 || due < l.most {
			l.most = due
		}
	}
	var group sync.WaitGroup
	l.start = time.Now()
	for _, w := range l.workers {
		group.Go(func() { l.work(w) })
	}
	group.Wait()
	total := &outcome{errors: map[string]int{}}
	for _, w := range l.workers {
		w.line.close()
		total.add(&w.outcome)
	}
	slices.SortFunc(total.answers, func(a, b answer) int { return int(a.due + a.took - b.due - b.took) })
	total.exhausted = l.rate == 0 && l.length > 0 && l.most > 0 && l.next.Load() >= l.most && total.length < l.length
	return total
}

func (l *loop) work(w *worker) {
	for {
		operation := l.next.Add(1) - 1
		if l.most > 0 && operation >= l.most {
			return
		}
		due, late := time.Since(l.start), time.Duration(0)
		if l.rate > 0 {
			now := due
			due = time.Duration(float64(operation) / l.rate * float64(time.Second))
			if due > now {
				time.Sleep(due - now)
				late = time.Since(l.start) - due
			} else if l.overload {
				due = now // more is offered than can be sent: what waits here does not wait for the server
			}
		} else if l.length > 0 && due >= l.length {
			return
		}
		l.once(w, int(operation), due, late)
	}
}

func (l *loop) once(w *worker, operation int, due, late time.Duration) {
	if l.job.fresh {
		w.line.config = l.job.config(w.number, operation)
	}
	w.buffer = l.job.request(w.buffer[:0], operation)
	status, body, err := w.line.ask(w.buffer)
	ended := time.Since(l.start)
	if l.job.fresh {
		w.line.close()
	}
	switch {
	case err != nil && l.overload && isShut(err):
		status = 0
		w.shed++
	case err != nil:
		status = 0
		w.errors[kind(err)]++
	case status == l.job.good:
		w.good++
		w.length = ended
		if l.job.keepAll || operation < keptFirst || operation%keptEvery == 0 {
			w.kept = append(w.kept, kept{w.number, operation, slices.Clone(body)})
		}
	case status == 503 && l.overload:
		w.shed++
	default:
		w.errors[fmt.Sprintf("status %d", status)]++
	}
	w.answers = append(w.answers, answer{due, ended - due, late, status})
}

func (o *outcome) add(other *outcome) {
	o.answers = append(o.answers, other.answers...)
	o.kept = append(o.kept, other.kept...)
	o.good += other.good
	o.shed += other.shed
	o.length = max(o.length, other.length)
	for what, count := range other.errors {
		o.errors[what] += count
	}
}
