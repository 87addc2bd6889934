package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/remora-ha/remora/failover"
)

func (a *app) analyzeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "analyze FILE|-",
		Short: "Say what Remora finds in a snapshot and would do about it",
		Long: `Reads a document of remora snapshot, from a file or from standard input, and
says what Remora finds in it: findings, the decision and why, each candidate and
what makes it fit or not, refusals and what would change them, the plan and the
repairs. It uses no network, and the same document always gives the same answer.`,
		Example: `  remora snapshot main > main.json
  remora analyze main.json`,
		Args: takes("FILE|-"),
		RunE: func(_ *cobra.Command, args []string) error {
			name, raw, err := a.document(args[0])
			if err != nil {
				return err
			}
			c, err := readCase(name, raw)
			if err != nil {
				return err
			}
			v := failover.Examine(c)
			return a.give(v, func(p *page) { viewVerdict(p, &v) })
		},
	}
}

func (a *app) document(file string) (name string, raw []byte, err error) {
	if file != "-" {
		raw, err = os.ReadFile(file)
	} else {
		file = "standard input"
		raw, err = io.ReadAll(a.in)
	}
	if err != nil {
		return file, nil, fmt.Errorf("reading the snapshot: %w", err)
	}
	return file, raw, nil
}
