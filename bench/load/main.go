// Command load sends requests to a CA that speaks step-ca's HTTP API, counts the answers and checks them.
//
// Everything that can be made beforehand is: keys, requests, tokens, certificates, connections. Then it writes
// the line {"event":"ready"} and waits for a line on its standard input, so that whoever started it can look at the
// server's counters. The timed part ends with {"event":"done"}; the answers that were kept are verified after that,
// and the last line, {"event":"result",...}, holds the figures.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"time"
)

type options struct {
	url, root, key, provisioner, mode, raw string
	conns, count, step, entries            int
	rate                                   float64
	seconds, warm, timeout                 time.Duration
	overload                               bool
	arrival                                time.Duration
}

func main() {
	o := options{}
	flag.StringVar(&o.url, "url", "", "the CA, https://host:port")
	flag.StringVar(&o.root, "root", "", "file with the root certificate (PEM)")
	flag.StringVar(&o.key, "key", "", "file with the provisioner's private JWK")
	flag.StringVar(&o.provisioner, "provisioner", "admin", "name of the JWK provisioner")
	flag.StringVar(&o.mode, "mode", "sign", "health, sign, sign-new, renew, renew-keep, wave, revoke, crl")
	flag.IntVar(&o.conns, "conns", 16, "connections, or requests under way at most")
	flag.Float64Var(&o.rate, "rate", 0, "open loop: requests a second, sent on time whatever the answers; 0: closed loop")
	flag.DurationVar(&o.seconds, "seconds", 4*time.Second, "length of the timed part")
	flag.DurationVar(&o.warm, "warm", time.Second, "length of the warm-up, which also tells how much to prepare")
	flag.IntVar(&o.count, "count", 0, "end after so many requests instead of -seconds, without a warm-up")
	flag.IntVar(&o.step, "step", 0, "also report rate and latency for each so many answers")
	flag.IntVar(&o.entries, "entries", 0, "crl: the least number of entries that is right")
	flag.DurationVar(&o.arrival, "arrival", 0, "wave: time in which all clients come for the first time")
	flag.BoolVar(&o.overload, "overload", false, "503 or a closed connection is a right answer, counted on its own")
	flag.StringVar(&o.raw, "raw", "", "file for every answer's due time and latency (CSV: seconds, milliseconds, status)")
	flag.DurationVar(&o.timeout, "timeout", 30*time.Second, "for one answer")
	flag.Parse()
	debug.SetGCPercent(600) // memory is cheap here, and time is shared with the server
	if err := run(&o); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(o *options) error {
	ca, err := openCA(o)
	if err != nil {
		return err
	}
	prepare := modes[o.mode]
	if prepare == nil {
		return fmt.Errorf("there is no mode %q", o.mode)
	}
	job, err := prepareTimed(o, ca, prepare)
	if err != nil {
		return err
	}
	loop := loop{ca: ca, job: job, conns: o.conns, rate: o.rate, length: o.seconds, overload: o.overload}
	if o.count > 0 {
		loop.length = 0
	}
	if o.mode == "wave" && o.count == 0 {
		return errors.New("a wave needs -count")
	}
	if err := loop.connect(); err != nil {
		return err
	}
	say(map[string]any{"event": "ready"})
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // the end of the input is as good as a line
	before := processorSeconds()
	outcome := timed(o, &loop)
	used := processorSeconds() - before
	say(map[string]any{"event": "done"})
	report := summarize(outcome, o)
	report.GeneratorSeconds = round(used, 3)
	report.TLS = ca.tlsName()
	report.verify(job, outcome.kept)
	if o.raw != "" {
		if err := writeRaw(o.raw, outcome.answers); err != nil {
			return err
		}
	}
	say(report)
	return nil
}

func timed(o *options, loop *loop) *outcome {
	if o.mode == "wave" {
		w := wave{ca: loop.ca, job: loop.job, conns: o.conns, arrival: o.arrival}
		return w.run()
	}
	return loop.run()
}

// prepareTimed warms the server up and prepares what the timed part can need.
func prepareTimed(o *options, ca *authority, prepare func(*authority, int) (*job, error)) (*job, error) {
	if o.count > 0 {
		return prepare(ca, o.count)
	}
	seconds := o.seconds.Seconds()
	if o.rate > 0 && o.warm <= 0 {
		return prepare(ca, int(o.rate*seconds)+1)
	}
	most := 8000.0
	if o.mode == "revoke" {
		most = 1500 // each costs an issuance before
	}
	warm, err := prepare(ca, int(most*o.warm.Seconds())+o.conns)
	if err != nil {
		return nil, err
	}
	loop := loop{ca: ca, job: warm, conns: o.conns, length: o.warm}
	if err := loop.connect(); err != nil {
		return nil, err
	}
	outcome := loop.run()
	need := int(outcome.rate()*seconds*1.7) + 1000
	if o.rate > 0 {
		need = int(o.rate*seconds) + 1
	}
	return prepare(ca, need)
}

func say(line any) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err) // only our own types come here
	}
	os.Stdout.Write(append(text, '\n'))
}
