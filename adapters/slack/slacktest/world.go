package slacktest

import (
	"encoding/json"
	"slices"
	"strings"
)

// User is a person or a bot of the workspace.
type User struct {
	ID       string // default: a new one
	Name     string
	RealName string
	Email    string
	TeamID   string // default: the app's team; another one is a Slack Connect stranger
	// EnterpriseID is the organisation of TeamID; default the app's, if the
	// team is the app's.
	EnterpriseID string
	Bot          bool
	Guest        bool
	Deleted      bool
}

// Channel is a conversation. Direct messages appear by themselves.
type Channel struct {
	ID       string // default: a new one
	Name     string
	Private  bool
	Archived bool
	DM       string // user id of the other side of a direct message
	Members  []string
}

// Group is a user group.
type Group struct {
	ID       string // default: a new one
	Handle   string
	Name     string
	Users    []string
	Disabled bool
}

// Message is a message in a channel as everyone sees it.
type Message struct {
	Channel  string
	TS       string
	ThreadTS string // of the parent, when it is a reply
	User     string
	BotID    string
	Text     string
	Blocks   json.RawMessage // nil when there are none
	Metadata json.RawMessage // nil when there is none
	Edits    int             // how often it was changed
	edited   bool            // shows "(edited)"
}

// Ephemeral is a message that one person sees.
type Ephemeral struct {
	Channel  string
	User     string
	TS       string
	ThreadTS string
	Text     string
	Blocks   json.RawMessage
	Via      string // "chat.postEphemeral", "response_url" or "command"
}

// AddUser adds or replaces a user.
func (s *Server) AddUser(u User) User {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.ID == "" {
		u.ID = s.id("U")
	}
	if u.TeamID == "" {
		u.TeamID = s.cfg.TeamID
	}
	if u.EnterpriseID == "" && u.TeamID == s.cfg.TeamID {
		u.EnterpriseID = s.cfg.EnterpriseID
	}
	s.users[u.ID] = &u
	return u
}

// AddChannel adds or replaces a channel. The bot is in it only when Members names it.
func (s *Server) AddChannel(c Channel) Channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.ID == "" {
		c.ID = s.id("C")
	}
	c.Members = slices.Clone(c.Members)
	s.channels[c.ID] = &c
	return c
}

// AddGroup adds or replaces a user group.
func (s *Server) AddGroup(g Group) Group {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.ID == "" {
		g.ID = s.id("S")
	}
	g.Users = slices.Clone(g.Users)
	s.groups[g.ID] = &g
	return g
}

// Users lists the users, by id.
func (s *Server) Users() []User { return sorted(s, s.users, func(u *User) string { return u.ID }) }

// Channels lists the channels, direct messages too, by id.
func (s *Server) Channels() []Channel {
	return sorted(s, s.channels, func(c *Channel) string { return c.ID })
}

func sorted[T any](s *Server, m map[string]*T, key func(*T) string) []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []T
	for _, v := range m {
		out = append(out, *v)
	}
	slices.SortFunc(out, func(a, b T) int { return strings.Compare(key(&a), key(&b)) })
	return out
}

// Archive archives a channel or brings it back.
func (s *Server) Archive(channel string, archived bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.channels[channel]; c != nil {
		c.Archived = archived
	}
}

// Rename gives a channel another name; its id stays.
func (s *Server) Rename(channel, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.channels[channel]; c != nil {
		c.Name = name
	}
}

// RemoveChannel deletes a channel with its messages.
func (s *Server) RemoveChannel(channel string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.channels, channel)
	delete(s.messages, channel)
	s.changed()
}

// Invite adds a user to a channel.
func (s *Server) Invite(channel, user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.channels[channel]; c != nil && !slices.Contains(c.Members, user) {
		c.Members = append(slices.Clone(c.Members), user)
	}
}

// Kick removes a user, possibly the bot, from a channel.
func (s *Server) Kick(channel, user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.channels[channel]; c != nil {
		c.Members = slices.DeleteFunc(slices.Clone(c.Members), func(m string) bool { return m == user })
	}
}

// RemoveGroup deletes a user group.
func (s *Server) RemoveGroup(group string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.groups, group)
}

// SetGroup changes who is in a user group.
func (s *Server) SetGroup(group string, users ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.groups[group]; g != nil {
		g.Users = slices.Clone(users)
	}
}

// FailToken makes every use of the bot's or app's token answer errorName, for
// example "token_revoked", "token_expired" or "account_inactive"; "" makes it good again.
func (s *Server) FailToken(tok, errorName string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tokens[tok]; t != nil {
		t.err = errorName
	}
}

// AddToken makes another bot token good, with the given scopes.
func (s *Server) AddToken(tok string, scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[tok] = &token{scopes: slices.Clone(scopes)}
}

// AddAppToken makes another app-level token good.
func (s *Server) AddAppToken(tok string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[tok] = &token{app: true, scopes: []string{"connections:write"}}
}

// RevokeAppToken ends an app-level token, and the connections that were
// opened with it.
func (s *Server) RevokeAppToken(tok string) {
	s.FailToken(tok, "invalid_auth")
	s.mu.Lock()
	t := s.tokens[tok]
	s.mu.Unlock()
	s.refresh("link_disabled", func(c *conn) bool { return c.token == t })
}

// SetSigningSecret has requests over HTTP signed with another secret from now on.
func (s *Server) SetSigningSecret(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg.SigningSecret = secret
}

// AddUserToken makes a token good that acts for a user, who must exist.
// Beyond auth.test, which tells whose it is, it works as the bot's.
func (s *Server) AddUserToken(tok, user string, scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[tok] = &token{user: user, scopes: slices.Clone(scopes)}
}

// HideAddresses is the workspace's setting Email display: nobody's address is
// told, whatever the scopes.
func (s *Server) HideAddresses(hide bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addressesHidden = hide
}

// RemoveScopes takes scopes away from the bot token.
func (s *Server) RemoveScopes(scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[s.cfg.BotToken]
	t.scopes = slices.DeleteFunc(slices.Clone(t.scopes), func(x string) bool { return slices.Contains(scopes, x) })
}

// AddScopes gives scopes to the bot token.
func (s *Server) AddScopes(scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[s.cfg.BotToken]
	t.scopes = append(slices.Clone(t.scopes), scopes...)
}

// Say posts a message as somebody else than the bot: people, and other apps,
// whose metadata may imitate ours.
func (s *Server) Say(channel, user, text string, metadata json.RawMessage) Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &Message{Channel: channel, TS: s.ts(), User: user, Text: text, Metadata: metadata}
	s.messages[channel] = append(s.messages[channel], m)
	s.changed()
	return *m
}

// Delete removes a message, as a person or an admin does.
func (s *Server) Delete(channel, ts string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages[channel] = slices.DeleteFunc(s.messages[channel], func(m *Message) bool { return m.TS == ts })
	s.changed()
}

// Messages lists the messages of a channel, replies too, oldest first.
func (s *Server) Messages(channel string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Message
	for _, m := range s.messages[channel] {
		out = append(out, *m)
	}
	return out
}

// DM is the id of the direct message channel between the bot and user; it is
// opened if there is none yet.
func (s *Server) DM(user string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dm(user).ID
}

func (s *Server) dm(user string) *Channel {
	for _, c := range s.channels {
		if c.DM == user {
			return c
		}
	}
	c := &Channel{ID: s.id("D"), DM: user, Members: []string{user, s.cfg.BotUserID}}
	s.channels[c.ID] = c
	return c
}

func (s *Server) message(channel, ts string) *Message {
	for _, m := range s.messages[channel] {
		if m.TS == ts {
			return m
		}
	}
	return nil
}
