package discordtest

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// User is a person or a bot, in the guild unless it is a stranger.
type User struct {
	ID         string // default: a new one
	Username   string // default "user-" and the id
	GlobalName string // the display name; default Username
	Nick       string // in the guild
	Roles      []string
	Bot        bool
	Stranger   bool // not in the guild
}

// Role is a role of the guild. The role @everyone has the guild's id.
type Role struct {
	ID          string // default: a new one
	Name        string
	Mentionable bool
	Permissions uint64
	managed     bool
}

// The kinds of channels that this Discord knows.
const (
	TextChannel         = 0
	DirectMessage       = 1
	Category            = 4
	AnnouncementChannel = 5
	PublicThread        = 11
	Forum               = 15
)

// Channel is a channel, a thread or a direct message. Threads and direct
// messages appear by themselves.
type Channel struct {
	ID         string // default: a new one
	Name       string
	Topic      string
	Kind       int    // default [TextChannel]
	Guild      string // default the guild; in another one the bot is not a member
	Private    bool   // only Members see it; the bot too must be one of them, or have [Server.SetPermissions]
	Members    []string
	Overwrites []Overwrite
	DM         string // user id of the other side of a direct message
	Parent     string // the channel of a thread
	Owner      string // who started a thread
	Archived   bool
	Locked     bool
	created    time.Time
}

// Message is a message in a channel as everyone sees it.
type Message struct {
	ID              string
	Channel         string
	Author          string // user id
	Content         string
	Flags           int
	Components      json.RawMessage // nil when there are none
	Embeds          json.RawMessage // nil when there are none
	AllowedMentions json.RawMessage // as last sent; nil when none was
	Pings           []string        // whom it really notified: ids of users and roles, "@everyone", "@here"
	Edits           int             // how often it was changed
	Nonce           string
	ThreadID        string // of the thread that was started from it
	Via             string // "" for a message of its own; "reply", "deferred" or "follow-up" for an answer to an interaction
	Created         time.Time
}

// Ephemeral is a message that one person sees.
type Ephemeral struct {
	ID         string
	Channel    string
	User       string
	Content    string
	Flags      int             // [FlagLoading] is set while a deferred answer is still to come
	Components json.RawMessage // nil when there are none
	Embeds     json.RawMessage // nil when there are none
	Files      []File          // those that components show
	Via        string          // "reply", "deferred" or "follow-up"
	Edits      int
	Created    time.Time
}

// Flags of messages (discord.com/developers/docs/resources/message).
const (
	FlagSuppressEmbeds        = 1 << 2
	FlagHasThread             = 1 << 5
	FlagEphemeral             = 1 << 6
	FlagLoading               = 1 << 7
	FlagSuppressNotifications = 1 << 12
	FlagComponentsV2          = 1 << 15
)

// message is what is kept of one, ephemeral or not.
type message struct {
	Message
	components  []any
	embeds      []any
	files       []File
	mentions    []string // users in the wire form
	mentioned   []string // roles in the wire form
	everyone    bool
	edited      time.Time
	kind        int
	interaction *interaction // that it answers
	only        string       // the user who sees an ephemeral one
	hidden      bool         // dismissed by that user
}

func (m *message) show() Message {
	out := m.Message
	out.Pings = slices.Clone(m.Pings)
	return out
}

func (m *message) private() Ephemeral {
	return Ephemeral{ID: m.ID, Channel: m.Channel, User: m.only, Content: m.Content, Flags: m.Flags,
		Components: m.Components, Embeds: m.Embeds, Files: slices.Clone(m.files), Via: m.Via, Edits: m.Edits, Created: m.Created}
}

func contains(list []string, v string) bool { return slices.Contains(list, v) }

// newID checks an id that a test chose, or makes one.
func (s *Server) newID(what, id string) string {
	if id == "" {
		return s.id()
	}
	if !isSnowflake(id) {
		s.violate("discordtest: %s %q: the id is not a snowflake, no client could use it", what, id)
	}
	return id
}

// AddUser adds or replaces a user. Ids are snowflakes: decimal digits.
func (s *Server) AddUser(u User) User {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.ID = s.newID("user", u.ID)
	if u.Username == "" {
		u.Username = "user-" + u.ID
	}
	if u.GlobalName == "" && !u.Bot {
		u.GlobalName = u.Username
	}
	u.Roles = slices.Clone(u.Roles)
	kept := u
	s.users[u.ID] = &kept
	return u
}

// AddRole adds or replaces a role.
func (s *Server) AddRole(r Role) Role {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.ID = s.newID("role", r.ID)
	kept := r
	s.roles[r.ID] = &kept
	return r
}

// AddChannel adds or replaces a channel of the guild.
func (s *Server) AddChannel(c Channel) Channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.ID = s.newID("channel", c.ID)
	if c.Guild == "" {
		c.Guild = s.cfg.GuildID
	}
	if c.created.IsZero() {
		c.created = s.cfg.Now()
	}
	c.Members, c.Overwrites = slices.Clone(c.Members), slices.Clone(c.Overwrites)
	if c.Private {
		c.overwrite(Overwrite{ID: c.Guild, Deny: ViewChannel})
		for _, id := range c.Members {
			c.overwrite(Overwrite{ID: id, User: s.roles[id] == nil, Allow: ViewChannel})
		}
	}
	kept := c
	s.channels[c.ID] = &kept
	return c
}

// SetRoles changes which roles a user has.
func (s *Server) SetRoles(user string, roles ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.users[user]; u != nil {
		u.Roles = slices.Clone(roles)
	}
}

// RemoveRole deletes a role; nobody has it any more.
func (s *Server) RemoveRole(role string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.roles, role)
	for _, u := range s.users {
		u.Roles = slices.DeleteFunc(slices.Clone(u.Roles), func(r string) bool { return r == role })
	}
}

// Users lists the users, by id.
func (s *Server) Users() []User { return sorted(s, s.users, func(u *User) string { return u.ID }) }

// Roles lists the roles, @everyone too, by id.
func (s *Server) Roles() []Role { return sorted(s, s.roles, func(r *Role) string { return r.ID }) }

// Channels lists the channels, threads and direct messages too, by id.
func (s *Server) Channels() []Channel {
	return sorted(s, s.channels, func(c *Channel) string { return c.ID })
}

func sorted[T any](s *Server, m map[string]*T, id func(*T) string) []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []T
	for _, v := range m {
		out = append(out, *v)
	}
	slices.SortFunc(out, func(a, b T) int {
		if x, y := id(&a), id(&b); len(x) != len(y) {
			return len(x) - len(y)
		}
		return strings.Compare(id(&a), id(&b))
	})
	return out
}

// RemoveChannel deletes a channel or a thread with its messages and its threads.
func (s *Server) RemoveChannel(channel string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[channel]
	if c == nil {
		return
	}
	delete(s.channels, channel)
	delete(s.messages, channel)
	if c.Parent != "" {
		if m := s.message(c.Parent, channel); m != nil {
			m.ThreadID = ""
			m.Flags &^= FlagHasThread
		}
		s.dispatch("THREAD_DELETE", intentGuilds, map[string]any{"id": c.ID, "guild_id": c.Guild, "parent_id": c.Parent, "type": c.Kind})
	} else {
		s.dispatch("CHANNEL_DELETE", intentGuilds, s.wireChannel(c))
	}
	for id, t := range s.channels {
		if t.Parent == channel {
			delete(s.channels, id)
			delete(s.messages, id)
		}
	}
	s.changed()
}

// DeleteThread deletes a thread; the message that it was started from stays.
func (s *Server) DeleteThread(thread string) { s.RemoveChannel(thread) }

// ArchiveThread archives a thread or brings it back. A message of the bot
// brings it back too, an edit does not.
func (s *Server) ArchiveThread(thread string, archived bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.channels[thread]; c != nil {
		c.Archived = archived
	}
}

// LockThread locks a thread or unlocks it: only moderators may write there.
func (s *Server) LockThread(thread string, locked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.channels[thread]; c != nil {
		c.Locked = locked
	}
}

// RemoveBot kicks the bot from the guild, its commands go with it; AddBot
// brings it back.
func (s *Server) RemoveBot() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	s.commands = nil
	s.dispatch("GUILD_DELETE", intentGuilds, map[string]any{"id": s.cfg.GuildID})
	s.changed()
}

// AddBot installs the bot in the guild again, without commands.
func (s *Server) AddBot() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = false
	s.changed()
}

// RevokeToken makes every use of the bot's token answer 401 and closes its
// connections to the gateway with 4004.
func (s *Server) RevokeToken() {
	s.mu.Lock()
	s.revoked, s.refused = true, 0
	s.mu.Unlock()
	s.CloseConnections(4004)
}

// ResetToken gives the bot another token, as the button Reset Token does: the
// one before is refused at once, and its connections to the gateway are
// closed with 4004.
func (s *Server) ResetToken() string {
	token := secret(24)
	s.mu.Lock()
	s.cfg.BotToken, s.refused = token, 0
	s.mu.Unlock()
	s.CloseConnections(closeAuthentication)
	return token
}

// RestoreToken makes the bot's token good again.
func (s *Server) RestoreToken() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked, s.refused = false, 0
}

// CloseDMs makes a user refuse direct messages of the bot, or accept them again.
func (s *Server) CloseDMs(user string, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closedDM[user] = closed
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
	c := &Channel{ID: s.id(), Kind: DirectMessage, DM: user, created: s.cfg.Now()}
	s.channels[c.ID] = c
	return c
}

// Say posts a message as somebody else than the bot. The bot reads no text of
// it outside direct messages: it has no message content intent.
func (s *Server) Say(channel, user, content string) Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &message{Message: Message{ID: s.id(), Channel: channel, Author: user, Content: content, Created: s.cfg.Now()}}
	s.messages[channel] = append(s.messages[channel], m)
	s.changed()
	return m.show()
}

// Delete removes a message, as a person or an admin does.
func (s *Server) Delete(channel, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(channel, message)
}

func (s *Server) remove(channel, id string) {
	s.messages[channel] = slices.DeleteFunc(s.messages[channel], func(m *message) bool { return m.ID == id })
	s.changed()
}

// Messages lists the messages of a channel or a thread, oldest first. A thread
// that was started from a message has the message's id.
func (s *Server) Messages(channel string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Message
	for _, m := range s.messages[channel] {
		out = append(out, m.show())
	}
	return out
}

// Commands is the JSON array of the guild's commands as registered by the bot.
func (s *Server) Commands() json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.commands
	if list == nil {
		list = []map[string]any{}
	}
	return marshal(list)
}

// CommandWrites is how often the bot has overwritten its commands.
func (s *Server) CommandWrites() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

func (s *Server) message(channel, id string) *message {
	for _, m := range s.messages[channel] {
		if m.ID == id {
			return m
		}
	}
	return nil
}

func (s *Server) whisper(user, id string) *message {
	for _, m := range s.privates[user] {
		if m.ID == id {
			return m
		}
	}
	return nil
}
