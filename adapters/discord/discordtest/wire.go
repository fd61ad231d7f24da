package discordtest

import (
	"slices"
	"strconv"
	"time"
)

// What the API returns about things: every property that Discord's OpenAPI
// document requires and those that clients look at.

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000-07:00") }

func bits(p uint64) string { return strconv.FormatUint(p, 10) }

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (s *Server) user(id string) *User {
	if u := s.users[id]; u != nil {
		return u
	}
	return &User{ID: id, Username: "deleted-user", Stranger: true}
}

func (s *Server) wireUser(id string) map[string]any {
	u := s.user(id)
	w := map[string]any{
		"id": u.ID, "username": u.Username, "global_name": orNull(u.GlobalName), "discriminator": "0",
		"avatar": nil, "public_flags": 0, "flags": 0, "primary_guild": nil, "avatar_decoration_data": nil,
		"banner": nil, "accent_color": nil, "collectibles": nil,
	}
	if u.Bot {
		w["bot"] = true
		w["discriminator"] = "0001"
	}
	return w
}

func (s *Server) wireMember(u *User) map[string]any {
	roles := slices.Clone(u.Roles)
	if roles == nil {
		roles = []string{}
	}
	return map[string]any{
		"user": s.wireUser(u.ID), "nick": orNull(u.Nick), "roles": roles, "avatar": nil, "banner": nil,
		"joined_at": "2023-04-27T10:00:00.000000+00:00", "premium_since": nil, "communication_disabled_until": nil,
		"flags": 0, "pending": false, "mute": false, "deaf": false,
	}
}

func (s *Server) wireRole(r *Role) map[string]any {
	w := map[string]any{
		"id": r.ID, "name": r.Name, "permissions": bits(r.Permissions), "position": 1, "color": 0,
		"colors": map[string]any{"primary_color": 0, "secondary_color": nil, "tertiary_color": nil},
		"hoist":  false, "managed": r.managed, "mentionable": r.Mentionable, "icon": nil, "unicode_emoji": nil, "flags": 0,
	}
	if r.ID == s.cfg.GuildID {
		w["position"] = 0
	}
	if r.managed {
		w["tags"] = map[string]any{"bot_id": s.cfg.BotUserID}
	}
	return w
}

func (s *Server) wireRoles() []any {
	out := []any{}
	for _, id := range ids(s.roles) {
		out = append(out, s.wireRole(s.roles[id]))
	}
	return out
}

// ids are the keys of m, oldest first.
func ids[T any](m map[string]T) []string {
	var out []string
	for id := range m {
		out = append(out, id)
	}
	slices.SortFunc(out, func(a, b string) int {
		if older(a, b) {
			return -1
		}
		return 1
	})
	return out
}

func (s *Server) wireGuild() map[string]any {
	return map[string]any{
		"id": s.cfg.GuildID, "name": s.cfg.GuildName, "icon": nil, "description": nil, "home_header": nil, "splash": nil,
		"discovery_splash": nil, "features": []string{}, "banner": nil, "owner_id": OwnerID, "application_id": nil,
		"region": "deprecated", "afk_channel_id": nil, "afk_timeout": 300, "system_channel_id": nil, "system_channel_flags": 0,
		"widget_enabled": false, "widget_channel_id": nil, "verification_level": 1, "roles": s.wireRoles(),
		"default_message_notifications": 1, "mfa_level": 0, "explicit_content_filter": 2, "max_presences": nil,
		"max_members": 500000, "max_stage_video_channel_users": 50, "max_video_channel_users": 25, "vanity_url_code": nil,
		"premium_tier": 0, "premium_subscription_count": 0, "preferred_locale": "en-US", "rules_channel_id": nil,
		"safety_alerts_channel_id": nil, "public_updates_channel_id": nil, "premium_progress_bar_enabled": false,
		"nsfw": false, "nsfw_level": 0, "emojis": []any{}, "stickers": []any{}, "incidents_data": nil,
	}
}

func (s *Server) lastMessage(channel string) any {
	if list := s.messages[channel]; len(list) > 0 {
		return list[len(list)-1].ID
	}
	return nil
}

func (s *Server) wireChannel(c *Channel) map[string]any {
	w := map[string]any{"id": c.ID, "type": c.Kind, "flags": 0, "last_message_id": s.lastMessage(c.ID)}
	switch {
	case c.DM != "":
		w["recipients"] = []any{s.wireUser(c.DM)}
	case c.Parent != "":
		w["guild_id"], w["name"], w["parent_id"], w["owner_id"] = c.Guild, c.Name, c.Parent, c.Owner
		w["rate_limit_per_user"] = 0
		n := len(s.messages[c.ID])
		w["message_count"], w["member_count"], w["total_message_sent"] = n, 1, n
		w["thread_metadata"] = map[string]any{"archived": c.Archived, "locked": c.Locked, "archive_timestamp": stamp(c.created),
			"auto_archive_duration": 1440, "create_timestamp": stamp(c.created)}
	default:
		overwrites := []any{}
		for _, o := range c.Overwrites {
			kind := 0
			if o.User {
				kind = 1
			}
			overwrites = append(overwrites, map[string]any{"id": o.ID, "type": kind, "allow": bits(o.Allow), "deny": bits(o.Deny)})
		}
		w["guild_id"], w["name"], w["topic"], w["parent_id"], w["position"] = c.Guild, c.Name, orNull(c.Topic), nil, 0
		w["permission_overwrites"], w["nsfw"], w["rate_limit_per_user"], w["last_pin_timestamp"] = overwrites, false, 0, nil
	}
	return w
}

// wireMessage is a message as the API returns it; made says that it is the
// answer to creating it, which alone carries the nonce.
func (s *Server) wireMessage(m *message, made bool) map[string]any {
	mentions := []any{}
	for _, id := range m.mentions {
		mentions = append(mentions, s.wireUser(id))
	}
	w := map[string]any{
		"id": m.ID, "channel_id": m.Channel, "type": m.kind, "author": s.wireUser(m.Author), "content": m.Content,
		"components": list(m.components), "embeds": list(m.embeds), "attachments": []any{},
		"mentions": mentions, "mention_roles": append([]string{}, m.mentioned...), "mention_everyone": m.everyone,
		"timestamp": stamp(m.Created), "edited_timestamp": nil, "flags": m.Flags, "pinned": false, "tts": false,
	}
	if !m.edited.IsZero() {
		w["edited_timestamp"] = stamp(m.edited)
	}
	if made && m.Nonce != "" {
		w["nonce"] = m.Nonce
	}
	if m.interaction != nil {
		w["webhook_id"], w["application_id"] = s.cfg.ApplicationID, s.cfg.ApplicationID
		w["interaction_metadata"] = s.wireMetadata(m.interaction)
	}
	if t := s.channels[m.ThreadID]; m.ThreadID != "" && t != nil {
		w["thread"] = s.wireChannel(t)
	}
	return w
}

func (s *Server) wireMetadata(it *interaction) map[string]any {
	w := map[string]any{"id": it.id, "type": it.kind, "user": s.wireUser(it.user), "authorizing_integration_owners": s.owners(it.channel)}
	switch it.kind {
	case command:
		w["name"] = it.command
	case component:
		w["interacted_message_id"] = it.message
	case formSubmit:
		w["triggering_interaction_metadata"] = s.wireMetadata(it.from)
	}
	return w
}

// readable is a message as the bot reads it without the message content
// intent: of its own, of direct messages and of those that mention it, all;
// of others no text (discord.com/developers/docs/events/gateway, "Message
// Content Intent").
func (s *Server) readable(m *message) map[string]any {
	w := s.wireMessage(m, false)
	c := s.channels[m.Channel]
	if m.Author != s.cfg.BotUserID && !contains(m.mentions, s.cfg.BotUserID) && (c == nil || c.DM == "") {
		w["content"], w["components"], w["embeds"] = "", []any{}, []any{}
	}
	return w
}

func list(l []any) []any {
	if l == nil {
		return []any{}
	}
	return l
}
