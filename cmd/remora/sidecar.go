package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/remora-ha/remora/sidecar"
)

func (a *app) runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run --config FILE",
		Short: "Run the sidecar",
		Long: `Runs the sidecar in the foreground until SIGINT or SIGTERM, and logs to stderr.
Stopping it leaves the proxy as it is; the other sidecars wait until its lease is
over before they open another writer.`,
		DisableFlagsInUseLine: true,
		Args:                  takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			file := a.configFile()
			if file == "" {
				return errors.New("run: no configuration is named\ngive it with --config FILE or in REMORA_CONFIG; config.yaml in the documentation is a commented example")
			}
			cfg, err := sidecar.LoadConfig(file)
			if err != nil {
				return err
			}
			saveMemory()
			return sidecar.Serve(c.Context(), cfg, cfg.Log.Logger(a.err), thisBuild().String())
		},
	}
}

// saveMemory has the garbage collector let the heap grow by half before it collects again, unless GOGC says otherwise: a sidecar of thousands of
// instances keeps much and makes little garbage, so that a third of its memory costs it 1% of a core.
func saveMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}

func (a *app) configCommand() *cobra.Command {
	check := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a configuration file and sum up what holds",
		Long: `Checks a configuration file as remora run would read it: keys, values, and
whether the secrets can be read. All errors are reported at once, with line and
key. Nothing is connected to.`,
		Args: takes("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			cfg, err := sidecar.LoadConfig(args[0])
			if err != nil {
				return err
			}
			return a.give(map[string]any{"ok": true, "file": args[0]}, func(p *page) { viewConfig(p, args[0], &cfg) })
		},
	}
	show := &cobra.Command{
		Use:   "show FILE",
		Short: "Print all effective values, defaults included",
		Long: `Prints a configuration with all values that hold, defaults included, as YAML
or, with --json, as JSON. Secrets show as the place where they are kept.`,
		Args: takes("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			cfg, err := sidecar.LoadConfig(args[0])
			if err != nil {
				return err
			}
			return a.showConfig(&cfg)
		},
	}
	return group("config", "Check and show configuration files", check, show)
}

// showConfig prints the configuration under the keys of its YAML.
func (a *app) showConfig(cfg *sidecar.Config) error {
	raw, err := yaml.Marshal(cfg)
	if err != nil {
		return fmt.Errorf("printing the configuration: %w", err)
	}
	if !a.flags.json {
		_, err := a.out.Write(raw)
		return err
	}
	var doc map[string]any
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return fmt.Errorf("printing the configuration: %w", err)
	}
	if _, err := json.Marshal(doc); err != nil {
		return fmt.Errorf("printing the configuration: %w", err)
	}
	return a.printJSON(doc)
}
