package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"slices"
	"syscall"
	"time"
)

const parts = 8 // of a run, whose rates tell how steady it was

// A report is what the last line says. Latencies are in milliseconds and of good answers alone.
type report struct {
	Event            string         `json:"event"`
	Mode             string         `json:"mode"`
	Conns            int            `json:"conns"`
	Offered          float64        `json:"offered"`
	Seconds          float64        `json:"seconds"`
	Good             int            `json:"good"`
	Shed             int            `json:"shed"`
	Failed           int            `json:"failed"`
	Errors           map[string]int `json:"errors"`
	Rate             float64        `json:"rate"`
	Latency          latency        `json:"latency"`
	Late             latency        `json:"late"`
	Parts            []float64      `json:"parts"`
	Steps            []step         `json:"steps,omitempty"`
	GeneratorSeconds float64        `json:"generator_seconds"`
	Exhausted        bool           `json:"exhausted"`
	Checked          int            `json:"checked"`
	Wrong            []string       `json:"wrong"`
	TLS              string         `json:"tls"`
}

type latency struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// A step is a stretch of so many answers.
type step struct {
	Until   int     `json:"until"`
	Rate    float64 `json:"rate"`
	Latency latency `json:"latency"`
}

func summarize(o *outcome, options *options) *report {
	var took, late []time.Duration
	counts := make([]float64, parts)
	good := o.answers[:0:0]
	for _, a := range o.answers {
		late = append(late, a.late)
		if a.status/100 != 2 {
			continue
		}
		good = append(good, a)
		took = append(took, a.took)
		counts[min(parts-1, int(float64(parts)*float64(a.due+a.took)/float64(o.length+1)))]++
	}
	for i := range counts {
		counts[i] = round(counts[i]*parts/o.length.Seconds(), 1)
	}
	failed := 0
	for _, count := range o.errors {
		failed += count
	}
	return &report{
		Event: "result", Mode: options.mode, Conns: options.conns, Offered: options.rate,
		Seconds: round(o.length.Seconds(), 3), Good: o.good, Shed: o.shed, Failed: failed, Errors: o.errors,
		Rate: round(o.rate(), 1), Latency: quantiles(took), Late: quantiles(late), Parts: counts,
		Steps: steps(good, options.step), Exhausted: o.exhausted, Wrong: []string{},
	}
}

// steps cuts good answers, in the order of their ends, into stretches of n.
func steps(good []answer, n int) []step {
	var found []step
	before := time.Duration(0)
	for start := 0; n > 0 && start+n <= len(good); start += n {
		var took []time.Duration
		for _, a := range good[start : start+n] {
			took = append(took, a.took)
		}
		last := good[start+n-1]
		end := last.due + last.took
		found = append(found, step{start + n, round(float64(n)/(end-before).Seconds(), 1), quantiles(took)})
		before = end
	}
	return found
}

func quantiles(values []time.Duration) latency {
	if len(values) == 0 {
		return latency{}
	}
	slices.Sort(values)
	at := func(share float64) float64 {
		index := int(math.Ceil(share*float64(len(values)))) - 1
		return round(float64(values[max(0, index)])/1e6, 3)
	}
	return latency{at(0.5), at(0.9), at(0.99), at(0.999), at(1)}
}

// verify judges the answers that were kept; what was wrong with them is told, a few of each run.
func (r *report) verify(j *job, answers []kept) {
	for _, a := range answers {
		r.Checked++
		if err := j.verify(a); err != nil && len(r.Wrong) < 10 {
			r.Wrong = append(r.Wrong, fmt.Sprintf("answer %d: %v", a.operation, err))
		}
	}
}

func writeRaw(path string, answers []answer) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	out := bufio.NewWriter(file)
	for _, a := range answers {
		fmt.Fprintf(out, "%.4f,%.3f,%d\n", a.due.Seconds(), float64(a.took)/1e6, a.status)
	}
	return out.Flush()
}

func processorSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

func round(value float64, digits int) float64 {
	scale := math.Pow(10, float64(digits))
	return math.Round(value*scale) / scale
}
