package standin_test

import (
	"os"
	"strings"
)

// readable tells whether a program has left an empty environment behind.
func readable(file string) (bool, string) {
	text, err := os.ReadFile(file)
	if err != nil {
		return false, err.Error()
	}
	// A shell sets PATH for itself.
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "HOME=") || strings.HasPrefix(line, "GO") {
			return false, "the environment holds " + line
		}
	}
	return true, ""
}
