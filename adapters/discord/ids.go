package discord

import (
	"regexp"
	"strconv"
	"time"
)

var snowflake = regexp.MustCompile(`^[0-9]{17,20}$`)

// IsID reports whether s has the shape of Discord's identifiers.
func IsID(s string) bool { return snowflake.MatchString(s) }

// epoch is the first moment of Discord's identifiers, in ms since 1970
// (discord.com/developers/docs/reference#snowflakes).
const epoch = 1420070400000

// sentAt is when the thing with that identifier was made.
func sentAt(id string) (time.Time, bool) {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(n>>22) + epoch), true
}

// idAt is the smallest identifier of a moment.
func idAt(t time.Time) string {
	return strconv.FormatInt(max(t.UnixMilli()-epoch, 0)<<22, 10)
}
