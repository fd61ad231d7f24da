package inmem_test

import (
	"testing"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/inmem"
	"github.com/countersign/countersign/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Open {
		db := inmem.NewDB()
		return func(h store.Hooks) (store.Store, error) { return db.Open(h), nil }
	})
}
