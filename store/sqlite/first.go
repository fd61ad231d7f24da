package sqlite

import (
	"context"
	"fmt"
	"time"
)

const claimsSchema = `
CREATE TABLE IF NOT EXISTS claims (
	key   TEXT PRIMARY KEY,
	until INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS claims_until ON claims (until);
`

// ClaimOnce implements [store.Store].
func (s *Store) ClaimOnce(ctx context.Context, key string, keep time.Duration) (bool, error) {
	now := time.Now()
	var n int64
	err := s.write(ctx, func(b *batch) error {
		if _, err := b.conn.ExecContext(background, `DELETE FROM claims WHERE until <= ?`, now.UnixMicro()); err != nil {
			return err
		}
		r, err := b.conn.ExecContext(background, `INSERT INTO claims (key, until) VALUES (?, ?) ON CONFLICT DO NOTHING`, key, now.Add(keep).UnixMicro())
		if err != nil {
			return err
		}
		n, err = r.RowsAffected()
		return err
	})
	if err != nil {
		return false, fmt.Errorf("claim %s: %w", key, err) // the write may be under way still
	}
	return n > 0, nil
}
