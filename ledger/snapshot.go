package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Version is the version of the snapshot format that this package writes, and
// the newest that it reads.
const Version = 1

// ErrNewerVersion says that a snapshot was written by a newer Remora. It is left
// as it is; a node of that version reads it.
var ErrNewerVersion = errors.New("written by a newer version of Remora")

// Encode writes the state as one JSON document. Equal states give equal bytes.
func (s *State) Encode(w io.Writer) error {
	if err := json.NewEncoder(w).Encode(s); err != nil {
		return fmt.Errorf("encode the state: %w", err)
	}
	return nil
}

// Decode reads a state that [State.Encode] wrote. A newer version is refused with
// [ErrNewerVersion]; so is, as an error, anything that is not wholly understood.
func Decode(r io.Reader) (*State, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("decode the state: %w", err)
	}
	switch {
	case head.Version > Version:
		return nil, fmt.Errorf("state of format version %d, this Remora reads up to %d: %w", head.Version, Version, ErrNewerVersion)
	case head.Version < 1:
		return nil, fmt.Errorf("decode the state: version is %d, the first was 1", head.Version)
	}
	s := NewState()
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(s); err != nil {
		return nil, fmt.Errorf("decode the state: %w", err)
	}
	if s.Nodes == nil || s.Clusters == nil {
		return nil, errors.New("decode the state: nodes or clusters are null")
	}
	return s, nil
}
