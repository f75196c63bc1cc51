package main

import (
	"bufio"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestQuantilesAreTheSmallestValueThatEnoughDoNotExceed(t *testing.T) {
	var values []time.Duration
	for i := 1000; i >= 1; i-- {
		values = append(values, time.Duration(i)*time.Millisecond)
	}
	want := latency{500, 900, 990, 999, 1000}
	if got := quantiles(values); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := quantiles(nil); got != (latency{}) {
		t.Errorf("of nothing: %v", got)
	}
	if got := quantiles([]time.Duration{time.Millisecond}); got != (latency{1, 1, 1, 1, 1}) {
		t.Errorf("of one value: %v", got)
	}
}

func TestStepsCountFromTheEndOfTheOneBefore(t *testing.T) {
	var good []answer
	for i := range 5 {
		good = append(good, answer{due: time.Duration(i) * time.Second, took: time.Second, status: 201})
	}
	got := steps(good, 2)
	if len(got) != 2 || got[0].Rate != 1 || got[1].Rate != 1 || got[1].Until != 4 {
		t.Errorf("got %v", got)
	}
	if steps(good, 0) != nil {
		t.Error("steps without being asked")
	}
}

func TestOnlyGoodAnswersCount(t *testing.T) {
	o := &outcome{
		answers: []answer{
			{due: 0, took: time.Second, status: 201},
			{due: 0, took: 9 * time.Second, status: 503},
			{due: time.Second, took: time.Second, status: 201},
		},
		good: 2, length: 2 * time.Second, errors: map[string]int{"status 503": 1},
	}
	r := summarize(o, &options{mode: "sign"})
	if r.Rate != 1 || r.Failed != 1 || r.Latency.Max != 1000 {
		t.Errorf("got %+v", r)
	}
}

func TestAnswersAreReadWhateverTheirForm(t *testing.T) {
	cases := []struct {
		name, text, body string
		status           int
		last             bool
	}{
		{"length", "HTTP/1.1 201 Created\r\ncontent-length: 5\r\n\r\nhello", "hello", 201, false},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", "hello", 200, false},
		{"none", "HTTP/1.1 204 No Content\r\n\r\n", "", 204, false},
		{"close", "HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "", 503, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			text := c.text + c.text // the second one must begin where the first ends
			l := line{reader: bufio.NewReader(iotest.OneByteReader(strings.NewReader(text)))}
			for range 2 {
				status, last, err := l.read()
				if err != nil || status != c.status || last != c.last || string(l.body) != c.body {
					t.Fatalf("status %d, last %v, body %q, %v", status, last, l.body, err)
				}
			}
			if _, _, err := l.read(); err != io.EOF {
				t.Errorf("after the end: %v", err)
			}
		})
	}
}

func TestWhatIsNoAnswerIsAnError(t *testing.T) {
	for _, text := range []string{
		"", "HTTP/1.1 2", "SSH-2.0-OpenSSH_9.2 and more\r\n", "HTTP/1.1 abc Hm\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		l := line{reader: bufio.NewReader(strings.NewReader(text))}
		if status, _, err := l.read(); err == nil {
			t.Errorf("%q: status %d", text, status)
		}
	}
}

func TestRequestsSayTheirLength(t *testing.T) {
	got := string(appendPost(nil, "ca:1", "/sign", []byte("ab"), []byte("cde")))
	if !strings.Contains(got, "Content-Length: 5\r\n") || !strings.HasSuffix(got, "\r\n\r\nabcde") {
		t.Errorf("got %q", got)
	}
}

func TestEveryIndexIsVisitedOnce(t *testing.T) {
	visits := make([]int, 1000)
	if err := spread(len(visits), func(i int) error { visits[i]++; return nil }); err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(visits, func(n int) bool { return n != 1 }) {
		t.Error("not once")
	}
	if err := spread(3, func(i int) error { return io.EOF }); err != io.EOF {
		t.Errorf("got %v", err)
	}
}
