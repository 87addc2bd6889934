package standin

import "github.com/remora-ha/remora/internal/standin/wire"

// user is a row of the runtime's mysql_users, as far as a session needs it.
type user struct {
	name       string
	secret     wire.Secret
	hostgroup  int
	schema     string
	persistent bool
	frontend   bool
}

// users are the runtime's users by name.
type users struct{ frontends map[string]user }

func newUsers(rows []user) *users {
	u := &users{frontends: make(map[string]user)}
	for _, row := range rows {
		if row.frontend {
			u.frontends[row.name] = row
		}
	}
	return u
}
