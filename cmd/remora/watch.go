package main

import (
	"context"
	"io"
	"time"
)

// watchEvery is how often --watch looks.
const watchEvery = time.Second

// watch draws a frame again and again until ctx ends. On a terminal it redraws
// in place; elsewhere a line separates the frames. With --json every frame is
// one line. A frame that cannot be had is shown as such: watching goes on.
func watch[T any](ctx context.Context, a *app, get func(context.Context) (T, error), view func(*page, T)) error {
	for {
		v, err := get(ctx)
		if over(ctx) {
			return nil
		}
		var lost error // stdout is gone
		switch {
		case err != nil && a.flags.json:
			a.report(err)
		case err != nil:
			lost = a.frame(func(p *page) { viewError(p, err) })
		case a.flags.json:
			lost = a.encodeJSON(v, "")
		default:
			lost = a.frame(func(p *page) { view(p, v) })
		}
		if lost != nil {
			return lost
		}
		if !pause(ctx, watchEvery) {
			return nil
		}
	}
}

const clearScreen = "\x1b[H\x1b[2J"

func (a *app) frame(view func(*page)) error {
	p := a.page()
	if a.live {
		p.b.WriteString(clearScreen)
	} else {
		p.say(0, plain, "--- %s", p.instant(time.Now()))
	}
	view(p)
	_, err := io.WriteString(a.out, p.b.String())
	return err
}
