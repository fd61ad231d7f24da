package slack

import (
	"testing"

	"github.com/slack-go/slack"

	"github.com/countersign/countersign/tickets"
)

// TestFailurePlace says which of Slack's names put a channel out of use. A
// name that speaks of one message must not: whoever writes a request could
// close the channel to the others. To see it fail, set Place for any of them.
func TestFailurePlace(t *testing.T) {
	for name, want := range map[string]bool{
		"not_in_channel": true, "channel_not_found": true, "is_archived": true, "is_inactive": true,
		"restricted_action": true, "restricted_action_read_only_channel": true, "restricted_action_thread_only_channel": true,
		"restricted_action_non_threadable_channel": false, "restricted_action_thread_locked": false,
		"message_not_found": false, "cant_update_message": false, "thread_not_found": false,
		"invalid_blocks": false, "msg_too_long": false, "ratelimited": false, "fatal_error": false, "a_name_of_tomorrow": false,
		"invalid_auth": false, // Denied says it already
	} {
		for _, method := range []string{methodPost, methodUpdate} {
			f := failure(method, true, slack.SlackErrorResponse{Err: name})
			if f.ChannelFault != want {
				t.Errorf("%s of %s: Place = %t, want %t", name, method, f.ChannelFault, want)
			}
			if method == methodUpdate && f.ChannelFault && f.Class == tickets.NotFound {
				t.Errorf("%s of %s is Gone: the message is given up", name, method)
			}
		}
	}
}
