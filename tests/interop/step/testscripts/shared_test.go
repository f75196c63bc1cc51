// Takes the place of the file of this name in the test package of the command line of step: its scripts, and the
// checks they call, then run the program that the linker names instead of step.
package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var program string

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"step": run})
}

// run does what step would have been asked to do. Texts that name the program name step.
func run() {
	command := exec.Command(program, os.Args[1:]...)
	var out, errs bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, &out, &errs
	err := command.Run()
	os.Stdout.Write(named(out.Bytes()))
	os.Stderr.Write(named(errs.Bytes()))
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(126)
	}
}

func named(text []byte) []byte {
	return bytes.ReplaceAll(text, []byte("provisor crypto"), []byte("step crypto"))
}
