package ledger

// Apply carries out a command at its index in the log. It is the only way a
// state changes. The same state, index and command always give the same state
// and result; a refused command changes nothing but the bookkeeping (Index,
// Recent). The state keeps parts of the command: do not change it afterwards.
func (s *State) Apply(index uint64, cmd Command) Result {
	if index <= s.Index {
		return refuse(RuleCommand, "command %q at index %d is refused: the state has already applied index %d", cmd.ID, index, s.Index)
	}
	s.Index = index
	if cmd.ID == "" {
		return refuse(RuleCommand, "a command without an id is refused: its repetition could not be recognised")
	}
	for _, a := range s.Recent {
		if a.ID == cmd.ID {
			return a.Result
		}
	}
	result := s.carryOut(index, cmd)
	s.Recent = keepNewest(KeptCommands, s.Recent, Answer{ID: cmd.ID, Result: result})
	return result
}

func (s *State) carryOut(index uint64, cmd Command) Result {
	op, err := cmd.operation()
	if err != nil {
		return refuse(RuleCommand, "%v", err)
	}
	return op.apply(s, entry{epoch: s.Base + index, at: cmd.At})
}

// cluster finds a cluster or says that there is none.
func (s *State) cluster(name, asked string) (Cluster, Result) {
	c, ok := s.Clusters[name]
	if !ok {
		return c, refuse(RuleUnknown, "%s is refused: there is no cluster %q; known are %s", asked, name, list(s.ClusterNames()))
	}
	return c, Result{}
}
