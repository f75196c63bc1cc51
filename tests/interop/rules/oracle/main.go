// The reference's own rendering: one JSON object a line in, {"template", "data"}, one a line out, {"output"} or {"error"}.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"go.step.sm/crypto/x509util"
)

type question struct {
	Template []byte          `json:"template"`
	Data     json.RawMessage `json:"data"`
}

type answer struct {
	Output string `json:"output,omitempty"`
	Error  string `json:"error,omitempty"`
}

func render(q question) (a answer) {
	defer func() {
		if r := recover(); r != nil {
			a = answer{Error: fmt.Sprint("panic: ", r)}
		}
	}()
	var data map[string]interface{}
	if err := json.Unmarshal(q.Data, &data); err != nil {
		return answer{Error: "data: " + err.Error()}
	}
	o := new(x509util.Options)
	if err := x509util.WithTemplate(string(q.Template), x509util.TemplateData(data))(&x509.CertificateRequest{}, o); err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Output: base64.StdEncoding.EncodeToString(o.CertBuffer.Bytes())}
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<26)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	for lines.Scan() {
		var q question
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		done := make(chan answer, 1)
		go func() { done <- render(q) }()
		select {
		case a := <-done:
			encoder.Encode(a)
			out.Flush()
		case <-time.After(2 * time.Second):
			encoder.Encode(answer{Error: "timeout"})
		}
	}
}
