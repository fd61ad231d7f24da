package main

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/epm/epmtest"
)

// Somebody has recorded what Slack and Discord sent, with its signatures, and
// sends it again while they are good: to the same process once it was
// restarted, or to another replica, also marked as one of Slack's retries. EPM
// has refused the decision meanwhile, so that the request is open again, and
// the setting was set to something else.
func TestStoryRecordedDeliveries(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]func(*testing.T) []option{
		"Restart": func(*testing.T) []option { return []option{discordByHTTP} },
		"Replica": func(t *testing.T) []option { return []option{discordByHTTP, withRedis(startRedis(t))} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tell(t, keep(t)...)
			r, _ := s.requested()
			s.discordShows("waiting for a decision")
			refuse := epmtest.Fault{On: epmtest.AppDecision, Times: 1, Kind: epmtest.Answer, Status: 400}
			s.epm.Fail(refuse)
			s.decide("U01ANN", "approve", hours2)
			s.shows("EPM refused the approval", "open again")
			recorded := []slacktest.Delivery{s.slackDelivered("view_submission")}
			s.slackSays("U01ANN", "config set category Hardware")
			recorded = append(recorded, s.slackDelivered("Hardware"))
			s.slackSays("U01ANN", "config set category Software")

			s.epm.Fail(refuse)
			s.discordShows("open again")
			s.discordOpens(discordAnn, "approve")
			s.discordSubmits(discordAnn, map[string]string{"reason": "also here", "unit": "once"})
			s.shows("refused the approval by", "Ann of Discord", "open again")
			all := s.discord.Deliveries()
			form := all[len(all)-1]

			var addr string
			if name == "Restart" {
				s.stop()
				s.start()
				addr = s.addr
			} else {
				var stop func()
				addr, stop = s.join(0)
				defer stop()
			}
			for _, d := range recorded {
				for _, retry := range []string{"", "1"} {
					d := d
					d.URL = "http://" + addr + d.URL[strings.Index(d.URL, "/slack/"):]
					if d.Header = maps.Clone(d.Header); retry != "" {
						d.Header.Set("X-Slack-Retry-Num", retry)
					}
					if code, text, err := s.slack.Replay(t.Context(), d); err != nil || code == http.StatusOK && !strings.Contains(text, "has reached me before") {
						t.Errorf("recorded: %d %q, %v; want it to be refused", code, text, err)
					}
				}
			}
			form.URL = "http://" + addr + "/discord/interactions"
			if code, text, err := s.discord.Deliver(t.Context(), discordtest.RawDelivery{URL: form.URL, Replay: &form}); err != nil || code == http.StatusOK && !strings.Contains(text, "has reached me before") {
				t.Errorf("recorded: %d %q, %v; want it to be refused", code, text, err)
			}
			if text := s.slackSays("U01ANN", "config list"); !strings.Contains(text, "category: “Software”") {
				t.Errorf("the settings are %q", text)
			}
			if text := s.slackSays("U01ANN", "ticket JIT-1001"); strings.Count(text, " Approved by ") != 2 {
				t.Errorf("the history is %q; want the two approvals that were refused", text)
			}
			s.decide("U02BOB", "deny", map[string]string{"reason": "then not"})
			s.inEffect(r.ID, "Denied", "Once")
		})
	}
}

// slackDelivered is the last request of Slack that has these words in it.
func (s *story) slackDelivered(words string) slacktest.Delivery {
	s.Helper()
	all := s.slack.Deliveries()
	for i := len(all) - 1; i >= 0; i-- {
		if strings.Contains(all[i].Body, words) {
			return all[i]
		}
	}
	s.Fatalf("Slack has sent nothing with %q", words)
	return slacktest.Delivery{}
}
