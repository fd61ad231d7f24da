package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// sets is a change of a setting by Ann.
func sets(key, value string) tickets.Change {
	return tickets.Change{At: Now, By: Ann, Key: key, New: &value}
}

func (s *suite) settings() {
	ctx := s.Context()
	if got, err := s.s.Settings(ctx); err != nil || got.Version != 0 || len(got.Values) != 0 {
		s.Fatalf("settings of a new store = %+v, %v; want none", got, err)
	}
	hostile := "it's \"ours\" {\u202e} \x01 ÿ"
	after, err := s.s.Configure(ctx, 0, []tickets.Change{sets("category", hostile), sets("fields", "user")})
	s.must(err)
	if after.Version != 1 || after.Values["category"] != hostile || after.Values["fields"] != "user" {
		s.Errorf("Configure = %+v", after)
	}
	reset := sets("fields", "")
	reset.Old, reset.New = reset.New, nil
	_, err = s.s.Configure(ctx, 1, []tickets.Change{reset})
	s.must(err)
	if _, err := s.s.Configure(ctx, 1, []tickets.Change{sets("category", "late")}); !errors.Is(err, store.ErrChanged) {
		s.Errorf("a change of settings that were changed = %v, want ErrChanged", err)
	}
	s.reopenStore()
	got, err := s.s.Settings(ctx)
	s.must(err)
	if _, still := got.Values["fields"]; still || got.Version != 2 || got.Values["category"] != hostile {
		s.Errorf("settings = %+v", got)
	}
	changes, err := s.s.Changes(ctx, 2)
	s.must(err)
	if len(changes) != 2 || changes[0].Version != 2 || changes[0].New != nil || changes[1].Key != "fields" || changes[1].Version != 1 ||
		*changes[1].New != "user" || changes[1].By != Ann || !changes[1].At.Equal(Now) {
		s.Errorf("changes = %+v, want the newest two", changes)
	}
	if all, err := s.s.Changes(ctx, 0); err != nil || len(all) != 3 {
		s.Errorf("%d changes, %v; want 3", len(all), err)
	}
}

// oneConfigures: of many who change the same version, one does.
func (s *suite) oneConfigures() {
	var wg sync.WaitGroup
	var won atomic.Int32
	for i := range 20 {
		wg.Go(func() {
			switch _, err := s.s.Configure(s.Context(), 0, []tickets.Change{sets("category", fmt.Sprint(i))}); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, store.ErrChanged):
				s.Errorf("Configure: %v", err)
			}
		})
	}
	wg.Wait()
	changes, err := s.s.Changes(s.Context(), 0)
	s.must(err)
	if won.Load() != 1 || len(changes) != 1 {
		s.Errorf("%d changed the same settings, %d changes are kept; want 1", won.Load(), len(changes))
	}
}

// marks: each name has its own, which stays.
func (s *suite) marks() {
	ctx := s.Context()
	if at, err := s.s.Cursor(ctx, "events/file"); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("Mark of nobody = %d, %v; want ErrNotFound", at, err)
	}
	for name, at := range map[string]int64{"events/file": 0, "events/syslog": 7} {
		s.must(s.s.SetCursor(ctx, name, at))
	}
	s.must(s.s.SetCursor(ctx, "events/syslog", 1<<40))
	s.reopenStore()
	for name, want := range map[string]int64{"events/file": 0, "events/syslog": 1 << 40} {
		if at, err := s.s.Cursor(ctx, name); err != nil || at != want {
			s.Errorf("Mark(%s) = %d, %v; want %d", name, at, err, want)
		}
	}
	if set, err := s.s.Settings(ctx); err != nil || set.Version != 0 {
		s.Errorf("settings = %+v, %v; want none", set, err)
	}
}
