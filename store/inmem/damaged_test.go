package inmem

import (
	"testing"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/storetest"
)

func TestDamagedSettings(t *testing.T) {
	db := NewDB()
	open := func(h store.Hooks) (store.Store, error) { return db.Open(h), nil }
	storetest.Damaged(t, open, func(doc []byte) { db.settings = doc })
}
