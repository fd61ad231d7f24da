package storetest

import (
	"errors"
	"slices"
	"strconv"
	"testing"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// Damaged holds a store, which open makes new and empty, to what is promised about
// settings that cannot be read. plant puts a text in their place behind the
// store's back.
func Damaged(t *testing.T, open Open, plant func(doc []byte)) {
	var told []tickets.Checkpoint
	st, err := open(store.Hooks{AfterCommit: func(c tickets.Checkpoint) { told = append(told, c) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	ctx := t.Context()
	mend := tickets.Change{At: Now, By: Ann}
	if _, err := st.ResetSettings(ctx, mend); !errors.Is(err, store.ErrChanged) {
		t.Errorf("Mend of settings that there are not = %v; want ErrChanged", err)
	}
	version := int64(0)
	for i, text := range []string{`{"v":1,"version":2,"values":{"category":"cut o`, `[]`, `{"v":0}`, "{\"v\":1,\xff"} {
		set, err := st.Configure(ctx, version, []tickets.Change{sets("category", strconv.Itoa(i))})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.ResetSettings(ctx, mend); !errors.Is(err, store.ErrChanged) {
			t.Errorf("Mend of good settings = %v; want ErrChanged", err)
		}
		plant([]byte(text))
		told = nil
		if _, err := st.Settings(ctx); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("Settings of %q = %v; want ErrDamaged", text, err)
		}
		if _, err := st.Configure(ctx, set.Version, []tickets.Change{sets("category", "x")}); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("Configure of %q = %v; want ErrDamaged", text, err)
		}
		if set, err = st.ResetSettings(ctx, mend); err != nil || len(set.Values) > 0 || set.Version != version+2 {
			t.Errorf("Mend of %q = %+v, %v; want none, of the next version", text, set, err)
		}
		if head, err := store.CheckpointOfSettings(ctx, st); err != nil || !slices.Equal(told, []tickets.Checkpoint{head}) {
			t.Errorf("reset of %q told %+v; want %+v, %v", text, told, head, err)
		}
		version = set.Version
		if got, err := st.Settings(ctx); err != nil || got.Version != version || len(got.Values) > 0 {
			t.Errorf("settings after that = %+v, %v", got, err)
		}
		want := text
		if i == 3 {
			want = strconv.Quote(text) // it is no text
		}
		changes, err := st.Changes(ctx, 1)
		if err != nil || len(changes) != 1 || changes[0].Key != tickets.KeyDamaged || changes[0].Version != version || changes[0].By != Ann ||
			changes[0].New != nil || changes[0].Old == nil || *changes[0].Old != want {
			t.Errorf("the newest change = %+v, %v; want what stood there", changes, err)
		}
	}
	newer := []byte(`{"v":99,"version":7,"values":["another","form"]}`)
	plant(newer)
	if _, err := st.Settings(ctx); !errors.Is(err, store.ErrNewerForm) {
		t.Errorf("Settings of a newer version = %v; want ErrNewerForm", err)
	}
	if _, err := st.ResetSettings(ctx, mend); !errors.Is(err, store.ErrChanged) {
		t.Errorf("Mend of a newer version's settings = %v; want ErrChanged", err)
	}
}
