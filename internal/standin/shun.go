package standin

// A server that fails too often within one second is SHUNNED; it comes back when a session asks for it after a while.
// There is no clock of its own behind this, as there is none in ProxySQL without its monitor.

// unshunAfter is how many seconds a server rests while others can serve.
func (s *settings) unshunAfter() int64 {
	return max(1, min(s.shunRecovery, s.connectTimeoutMax.Milliseconds()/1000-1))
}

// unshunInNeed is how many seconds a server rests when no other can serve.
func (s *settings) unshunInNeed() int64 {
	if s.shunRecovery*1000 >= s.connectTimeoutMax.Milliseconds() {
		return max(1, s.connectTimeoutMax.Milliseconds()/10000-1)
	}
	return max(1, s.shunRecovery/10)
}

// unshun brings back the servers whose last error is more than some seconds old.
func (h *hostgroups) unshun(g *hostgroup, seconds int64) bool {
	now, woken := h.now().Unix(), false
	for _, s := range g.servers {
		if s.status == shunned && s.autoShunned && now-s.lastError > seconds {
			s.status, s.autoShunned = online, false
			s.lastError, s.errorsAtLast = 0, 0
			woken = true
		}
	}
	if woken {
		g.refresh()
	}
	return woken
}

// connected counts a connection that was opened.
func (h *hostgroups) connected(s *server) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.connectOK++
}

// failed counts an error that the server's state explains, and shuns it when there are too many.
func (h *hostgroups) failed(s *server, code uint16) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.connectErr++
	if isClientsFault(code) {
		return
	}
	now := h.now().Unix()
	if now > s.lastError {
		s.lastError, s.errorsAtLast = now, 1
		return
	}
	s.errorsAtLast++
	set := h.settings()
	if s.errorsAtLast < min(set.shunOnFailures, set.connectRetries+1) || s.status != online {
		return
	}
	s.status, s.autoShunned = shunned, true
	h.groups[s.hostgroup].refresh()
}

// isClientsFault tells the errors that say nothing of the server.
func isClientsFault(code uint16) bool {
	switch code {
	case 1007, 1008, 1044, 1045, 1120, 1136, 1203, 1226, 3118:
		return true
	}
	for _, r := range [][2]uint16{{1048, 1052}, {1054, 1075}, {1099, 1104}, {1106, 1113}, {1116, 1118}, {1138, 1149}} {
		if code >= r[0] && code <= r[1] {
			return true
		}
	}
	return false
}
