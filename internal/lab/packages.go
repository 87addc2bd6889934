package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

const serverPackage = "mariadb-server-core"

// need is a program that the lab runs, with the Debian package it is in.
type need struct{ program, debian string }

var (
	serverNeeds = []need{
		{"mariadbd", serverPackage},
		{"mariadb-install-db", serverPackage},
		{"my_print_defaults", "mariadb-client-core"}, // for mariadb-install-db
		{"mariadb", "mariadb-client-core"},
	}
	proxyNeeds   = []need{{"haproxy", "haproxy"}}
	networkNeeds = []need{
		{"ip", "iproute2"},
		{"nft", "nftables"},
	}
)

// Missing names the Debian packages that have to be installed before database servers and HAProxy can be started.
func Missing() []string { return missingOf(slices.Concat(serverNeeds, proxyNeeds)) }

// MissingForNetwork names those that a Network and its cuts need besides.
func MissingForNetwork() []string { return missingOf(networkNeeds) }

func missingOf(needs []need) []string {
	var missing []string
	for _, need := range needs {
		if _, err := find(need.program); err != nil && !slices.Contains(missing, need.debian) {
			missing = append(missing, need.debian)
		}
	}
	return missing
}

// Install installs what database servers are missing, when root, and shows the installer's output on w. Otherwise the
// error is the command to type. Where nothing is missing it does nothing. HAProxy's package brings a service, which
// scripts/deps leaves off: that is the command to type where it is missing.
func Install(ctx context.Context, w io.Writer) error {
	if len(missingOf(proxyNeeds)) > 0 {
		return errors.New("missing: haproxy; to install it with its service left off, type: scripts/deps test")
	}
	missing := missingOf(serverNeeds)
	if len(missing) == 0 {
		return nil
	}
	install := append([]string{"apt-get", "install", "-y", "--no-install-recommends"}, missing...)
	command := strings.Join(install, " ")
	if os.Geteuid() != 0 {
		return fmt.Errorf("missing: %s; to install, type: sudo apt-get update && sudo %s", strings.Join(missing, ", "), command)
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("missing: %s, and there is no apt-get to install them with: %w", strings.Join(missing, ", "), err)
	}
	for _, args := range [][]string{{"apt-get", "update"}, install} {
		if _, err := fmt.Fprintln(w, "$", strings.Join(args, " ")); err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		cmd.Stdout, cmd.Stderr = w, w
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(args, " "), err)
		}
	}
	if missing = missingOf(serverNeeds); len(missing) > 0 {
		return errors.New("still missing after the installation: " + strings.Join(missing, ", "))
	}
	return nil
}
