package bot_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/countersign/countersign/bot/settings"
	"github.com/countersign/countersign/tickets"
)

// somewhere is a world with two platforms.
func somewhere() settings.Registry {
	known := func(p tickets.Platform) error {
		if p != "slack" && p != "discord" {
			return errors.New("there is no such platform")
		}
		return nil
	}
	return settings.Registry{
		Types:     tickets.Types(),
		Principal: func(p tickets.Principal) error { return known(p.Platform) },
		Place:     func(p tickets.Place) error { return known(p.Platform) },
	}
}

func TestReadSettings(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		key, text string
		want      string // as shown; the same text if empty
		problem   string
	}{
		"Type":             {tickets.KeyTicketType, "incident", "Incident", ""},
		"NoType":           {tickets.KeyTicketType, "Ticket", "Access Request", "choose one of: Access Request, Incident"},
		"States":           {tickets.KeyActiveStates, " new ,On hold, new", "New, On Hold", ""},
		"OtherState":       {tickets.KeyActiveStates, "New, Assess", "New, In Progress, On Hold", "item 2 is not a state of Access Request"},
		"NoState":          {tickets.KeyActiveStates, ",", "New, In Progress, On Hold", "nobody could decide"},
		"DefaultStates":    {tickets.KeyActiveStates, "", "New, In Progress, On Hold", ""},
		"Description":      {tickets.KeyShortDescription, "Access, please", "", ""},
		"LongDescription":  {tickets.KeyShortDescription, strings.Repeat("ß", 161), " ", "shorten it to 160 characters; it has 161"},
		"HostileCategory":  {tickets.KeyCategory, "a\nApproved by Ann", "a ⏎ Approved by Ann", ""},
		"Assign":           {tickets.KeyAssignmentGroup, "slack:group:S1, discord:role:2", "", ""},
		"AssignTwo":        {tickets.KeyAssignmentGroup, "slack:group:S1, slack:U1", " ", "name one for Slack, not two"},
		"AssignChannel":    {tickets.KeyAssignmentGroup, "slack:channel:C1", " ", "a whole channel is not mentioned"},
		"AssignNobody":     {tickets.KeyAssignmentGroup, "", " ", ""},
		"AutoClose":        {tickets.KeyAutoClose, "TRUE", "true", ""},
		"AutoCloseWhat":    {tickets.KeyAutoClose, "yes", "false", "write true or false"},
		"Approvers":        {tickets.KeyApprovers, "slack:U1, discord:role:2, slack:U1", "slack:U1, discord:role:2", ""},
		"ApproversWhere":   {tickets.KeyApprovers, "slack:U1, teams:2", " ", "item 2: there is no such platform"},
		"ApproversHow":     {tickets.KeyApprovers, "Ann", " ", "item 1: write platform:ID"},
		"Channels":         {tickets.KeyChannels, "slack:C1, discord:2", "", ""},
		"NoChannel":        {tickets.KeyChannels, " ", " ", "without a channel nobody would see a request"},
		"ChannelsHow":      {tickets.KeyChannels, "slack", " ", "item 1: write platform:ID"},
		"Fields":           {tickets.KeyFields, "Reason, user,reason", "reason, user", ""},
		"FieldsWhat":       {tickets.KeyFields, "user, colour", " ", "item 2 is not a field: choose from user"},
		"SelfApproval":     {tickets.KeySelfApproval, "Allow", "allow", ""},
		"SelfApprovalNot":  {tickets.KeySelfApproval, "deny", "", ""},
		"SelfApprovalWhat": {tickets.KeySelfApproval, "true", "deny", "write allow or deny"},
		"NoSetting":        {"colour", "red", " ", "there is no such setting"},
	} {
		s, problems := settings.Read(map[string]string{tt.key: tt.text}, somewhere())
		want := tt.want
		if want == "" {
			want = tt.text
		}
		if got := s.Show(tt.key); got != strings.TrimSpace(want) {
			t.Errorf("%s: shown as %q, want %q", name, got, want)
		}
		switch err := problems[tt.key]; {
		case tt.problem == "" && len(problems) > 0:
			t.Errorf("%s: problems %v", name, problems)
		case tt.problem != "" && (err == nil || !strings.Contains(err.Error(), tt.problem) || len(problems) != 1):
			t.Errorf("%s: problems %v, want %q", name, problems, tt.problem)
		}
	}
}

// TestSettingsReadWhatTheyShow: what is shown can be set again, which exports
// rely on.
func TestSettingsReadWhatTheyShow(t *testing.T) {
	t.Parallel()
	values := map[string]string{
		tickets.KeyTicketType: "Change Request", tickets.KeyActiveStates: "New, Assess", tickets.KeyShortDescription: "Access", tickets.KeyCategory: "Security",
		tickets.KeyAssignmentGroup: "slack:group:S1", tickets.KeyAutoClose: "true", tickets.KeyApprovers: "slack:U1, discord:role:2", tickets.KeyAdmins: "slack:U2",
		tickets.KeyChannels: "slack:C1, discord:3", tickets.KeyFields: "user, reason", tickets.KeySelfApproval: "allow",
	}
	s, problems := settings.Read(values, somewhere())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	shown := map[string]string{}
	for _, key := range tickets.SettingKeys() {
		shown[key] = s.Show(key)
	}
	if !maps.Equal(shown, values) {
		t.Errorf("shown %v, want %v", shown, values)
	}
}

// TestStatesFollowTheType: states of an earlier type do not outlive it.
func TestStatesFollowTheType(t *testing.T) {
	t.Parallel()
	s, problems := settings.Read(map[string]string{tickets.KeyTicketType: "Change Request", tickets.KeyActiveStates: "New, On Hold"}, somewhere())
	if problems[tickets.KeyActiveStates] == nil || s.Show(tickets.KeyActiveStates) != "New, Assess, Authorize, Scheduled, Implement" {
		t.Errorf("active states %q, %v", s.Show(tickets.KeyActiveStates), problems)
	}
}
