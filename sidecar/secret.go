package sidecar

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Secret says where a secret is: in a file or in an environment variable, never
// in the configuration itself. It prints as the place, not as the secret.
type Secret struct {
	File string `yaml:"file"`
	Env  string `yaml:"env"`
}

// Read fetches the secret; a trailing newline does not belong to it. The zero
// Secret is the empty one, but a place that is named must hold something: an
// empty token would open the API to everybody. Errors name the place only.
func (s Secret) Read() (string, error) {
	switch {
	case s.File != "" && s.Env != "":
		return "", errors.New("both file and env are given; keep one")
	case s.File != "":
		raw, err := os.ReadFile(s.File)
		if err != nil {
			return "", err
		}
		v := strings.TrimRight(string(raw), "\r\n")
		if v == "" {
			return "", fmt.Errorf("file %s is empty", s.File)
		}
		return v, nil
	case s.Env != "":
		v, ok := os.LookupEnv(s.Env)
		if !ok {
			return "", fmt.Errorf("environment variable %s is not set", s.Env)
		}
		if v == "" {
			return "", fmt.Errorf("environment variable %s is empty", s.Env)
		}
		return v, nil
	default:
		return "", nil
	}
}
