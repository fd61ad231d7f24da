package discordtest

// Permissions (discord.com/developers/docs/topics/permissions).
const (
	Administrator         uint64 = 1 << 3
	ViewChannel           uint64 = 1 << 10
	SendMessages          uint64 = 1 << 11
	ManageMessages        uint64 = 1 << 13
	EmbedLinks            uint64 = 1 << 14
	AttachFiles           uint64 = 1 << 15
	ReadMessageHistory    uint64 = 1 << 16
	MentionEveryone       uint64 = 1 << 17
	UseCommands           uint64 = 1 << 31
	ManageThreads         uint64 = 1 << 34
	CreatePublicThreads   uint64 = 1 << 35
	SendMessagesInThreads uint64 = 1 << 38
)

// BotPermissions is what the bot may do unless [Server.SetPermissions] says otherwise.
const BotPermissions = ViewChannel | SendMessages | EmbedLinks | ReadMessageHistory | CreatePublicThreads | SendMessagesInThreads

const (
	allPermissions = Administrator | ViewChannel | SendMessages | ManageMessages | EmbedLinks | AttachFiles | ReadMessageHistory |
		MentionEveryone | UseCommands | ManageThreads | CreatePublicThreads | SendMessagesInThreads
	everyonePermissions = ViewChannel | SendMessages | ReadMessageHistory | UseCommands | SendMessagesInThreads
)

// Overwrite changes in one channel what a role or a user may do.
type Overwrite struct {
	ID          string // of a role or a user
	User        bool   // whether ID is a user's
	Allow, Deny uint64
}

// SetPermissions says what the bot may do in a channel and its threads, no
// matter what its roles say. It becomes a permission overwrite for the bot, so
// that a client which computes permissions from what the REST API returns
// finds the same. A role with [Administrator] still overrules it.
func (s *Server) SetPermissions(channel string, bits uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[channel]
	if c == nil {
		return
	}
	c.overwrite(Overwrite{ID: s.cfg.BotUserID, User: true, Allow: bits, Deny: allPermissions &^ bits})
}

func (c *Channel) overwrite(o Overwrite) {
	var out []Overwrite
	for _, old := range c.Overwrites {
		if old.ID != o.ID {
			out = append(out, old)
		}
	}
	c.Overwrites = append(out, o)
}

// Permissions is what a user, possibly the bot, may do in a channel.
func (s *Server) Permissions(user, channel string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.permissions(user, s.channels[channel])
}

// permissions follows the algorithm of the documentation's page, "Permission
// Overwrites". Without VIEW_CHANNEL nothing else is left.
func (s *Server) permissions(user string, c *Channel) uint64 {
	u := s.users[user]
	if u == nil || c == nil {
		return 0
	}
	if c.DM != "" {
		if c.DM == user || user == s.cfg.BotUserID {
			return ViewChannel | SendMessages | EmbedLinks | AttachFiles | ReadMessageHistory | UseCommands
		}
		return 0
	}
	if c.Parent != "" {
		return s.permissions(user, s.channels[c.Parent])
	}
	if u.Stranger || c.Guild != s.cfg.GuildID || user == s.cfg.BotUserID && s.gone {
		return 0
	}
	if user == OwnerID {
		return allPermissions
	}
	bits := s.roles[s.cfg.GuildID].Permissions
	for _, id := range u.Roles {
		if r := s.roles[id]; r != nil {
			bits |= r.Permissions
		}
	}
	if bits&Administrator != 0 {
		return allPermissions
	}
	apply := func(match func(Overwrite) bool) {
		var allow, deny uint64
		for _, o := range c.Overwrites {
			if match(o) {
				allow |= o.Allow
				deny |= o.Deny
			}
		}
		bits = bits&^deny | allow
	}
	apply(func(o Overwrite) bool { return !o.User && o.ID == s.cfg.GuildID })
	apply(func(o Overwrite) bool { return !o.User && o.ID != s.cfg.GuildID && contains(u.Roles, o.ID) })
	apply(func(o Overwrite) bool { return o.User && o.ID == user })
	if bits&ViewChannel == 0 {
		return 0
	}
	return bits
}
