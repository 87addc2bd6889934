package lab

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestManyLabsBeginAtOnce has labs make their directories while others sweep.
func TestManyLabsBeginAtOnce(t *testing.T) {
	parent := t.TempDir()
	var labs sync.WaitGroup
	for range 8 {
		labs.Go(func() {
			for range 200 {
				dir, lock, err := makeDir(parent)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := os.Stat(filepath.Join(dir, lockName)); err != nil {
					t.Errorf("the directory is not there: %v", err)
				}
				if err := removeDir(dir); err != nil {
					t.Error(err)
				}
				if err := lock.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	labs.Wait()
}
