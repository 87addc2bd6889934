package sidecar

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/ledger"
)

const (
	// rescueLimit bounds the SQL of one saving, in bytes.
	rescueLimit = 256 << 20
	// rescuedLimit bounds all savings of a node, and rescueReserve is what stays free on
	// its disk, in bytes: raft writes there.
	rescuedLimit  = 2 << 30
	rescueReserve = 256 << 20
)

// rescue saves the transactions of a step as SQL and records where. Each attempt has a
// file of its own: a later one may find less. What is not whole is recorded as well, and
// is an error.
func (d *decider) rescue(ctx context.Context, step failover.Step) error {
	if d.cfg.DataDir == "" {
		return errors.New("there is no place for it: data_dir is not configured on " + d.cfg.Node)
	}
	rescuer := d.ports.Rescuers[d.cluster]
	if rescuer == nil {
		return errors.New("this sidecar cannot read binary logs")
	}
	dir, err := filepath.Abs(filepath.Join(d.cfg.DataDir, "rescued"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the place for saved transactions: %w", err)
	}
	limit, err := rescueRoom(dir)
	if err != nil {
		return err
	}
	id := sha256.Sum256([]byte(step.Until.String()))
	instance := strings.NewReplacer(":", "_", "[", "", "]", "").Replace(string(step.Target))
	r := failover.Rescued{
		Instance: step.Target, Set: step.Until, Node: d.cfg.Node,
		File: filepath.Join(dir, fmt.Sprintf("%s-%s-%x-%s.sql", d.cluster, instance, id[:6], time.Now().UTC().Format("20060102T150405.000"))),
	}
	err = writeWhole(r.File, func(w io.Writer) error {
		if _, err := io.WriteString(w, d.rescueHead(step)); err != nil {
			return err
		}
		saved, err := rescuer.SaveTransactions(ctx, step.Target, step.Until, w, limit)
		if err != nil {
			return err
		}
		var notes []string
		if saved.Truncated {
			notes = append(notes, fmt.Sprintf("TRUNCATED: the next transaction is too large, or with it all would be more than %d MiB; that and all after it are missing", limit>>20))
		}
		if !saved.Purged.Empty() {
			notes = append(notes, fmt.Sprintf("%s are missing: their binary logs were purged", saved.Purged))
		}
		if !saved.NotMet.Empty() {
			notes = append(notes, fmt.Sprintf("%s are missing: no binary log of the server has them", saved.NotMet))
		}
		if saved.Comments > 0 {
			notes = append(notes, fmt.Sprintf("%d of the changes are comments only or inexact, for %s", saved.Comments, saved.Why))
		}
		r.Transactions, r.Changes, r.Note = saved.Transactions, saved.Changes, strings.Join(notes, "; ")
		_, err = fmt.Fprintf(w, "\n-- The end: %d transactions, %d changes. %s\n", r.Transactions, r.Changes, r.Note)
		return err
	})
	if err != nil {
		return err
	}
	_, err = d.commit(ctx, ledger.Command{Rescue: &ledger.Rescue{Cluster: d.cluster, Rescued: r}})
	if err != nil {
		return fmt.Errorf("transactions of %s are in %s, and that could not be recorded: %w", step.Target, r.File, err)
	}
	d.log.Warn("saved transactions that the primary lacks", "cluster", d.cluster, "instance", step.Target, "set", step.Until.String(), "file", r.File, "note", r.Note)
	if !r.Whole() {
		return fmt.Errorf("they are %s", r)
	}
	return nil
}

func (d *decider) rescueHead(step failover.Step) string {
	primary := d.ports.Consensus.State().Clusters[d.cluster].Route.Writer
	return fmt.Sprintf(`-- Transactions of %s, cluster %s, that primary %s does not have:
-- %s
-- Read from its binary logs at %s by %s (Remora %s).
-- They were applied nowhere else. Compare each with what the primary has now, and run what is wanted
-- there, with the mysql client. Where the row has changed since, an UPDATE or DELETE matches nothing.
SET NAMES utf8mb4;
SET time_zone='+00:00', sql_mode='NO_AUTO_VALUE_ON_ZERO';
`, step.Target, d.cluster, primary, step.Until, time.Now().UTC().Format(time.RFC3339), d.cfg.Node, d.version)
}

// rescueRoom is how large one more saving in a directory may become, in bytes. What is
// there is never deleted: it may be the only copy.
func rescueRoom(dir string) (int, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return 0, fmt.Errorf("look at the saved transactions: %w", err)
	}
	var used int64
	for _, f := range files {
		if info, err := f.Info(); err == nil { // one that is gone by now takes no room
			used += info.Size()
		}
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return 0, fmt.Errorf("ask for the free space of %s: %w", dir, err)
	}
	return roomFor(dir, used, int64(disk.Bavail)*disk.Bsize)
}

func roomFor(dir string, used, free int64) (int, error) {
	room := min(rescueLimit, rescuedLimit-used, free-rescueReserve)
	if room < 1<<20 {
		return 0, fmt.Errorf("there is no room for more: %s has %d MiB of at most %d MiB, and its disk has %d MiB free, of which %d MiB are kept for raft; move files away that you have looked through",
			dir, used>>20, int64(rescuedLimit>>20), free>>20, int64(rescueReserve>>20))
	}
	return int(room), nil
}

// writeWhole writes a file that is there wholly or not at all, also after a crash.
func writeWhole(name string, write func(io.Writer) error) (err error) {
	f, err := os.OpenFile(name+".part", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriter(f)
	if err := write(w); err != nil {
		return err
	}
	if err := errors.Join(w.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
