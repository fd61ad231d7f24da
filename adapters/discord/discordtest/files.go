package discordtest

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	_ "image/png" // that people can look at
	"io"
	"mime/multipart"
	"net/http"
	"regexp"
	"slices"
	"strconv"
)

// File is a file that was sent with a message.
type File struct {
	Name        string
	ContentType string
	Description string // what a screen reader says of it, from the list of attachments
	Content     []byte

	ID string // of the attachment, which components name

	place int  // n of files[n]
	shown bool // by a component
}

// withFiles are the calls that take files
// (discord.com/developers/docs/reference#uploading-files).
var withFiles = []string{
	"POST /channels/{channel}/messages",
	"PATCH /channels/{channel}/messages/{message}",
	"POST /webhooks/{application}/{token}",
	"PATCH /webhooks/{application}/{token}/messages/{message}",
}

const (
	maxFile     = 10 << 20 // bytes, as attachment_size_limit of interactions says
	maxFileName = 1024
)

var filePart = regexp.MustCompile(`^files\[([0-9])\]$`)

// readFiles takes a call's files out of its body, which is its payload_json
// from then on.
func (s *Server) readFiles(c *call, boundary string) *apiError {
	unread := &apiError{status: http.StatusBadRequest, code: 50035}
	c.body = nil
	for parts := multipart.NewReader(bytes.NewReader(c.sent), boundary); ; {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return unread
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return unread
		}
		if part.FormName() == "payload_json" {
			c.body = content
			continue
		}
		n := filePart.FindStringSubmatch(part.FormName())
		switch {
		case n == nil:
			s.violate("%s: part %q is neither payload_json nor files[0] to files[9]", c.where(), part.FormName())
		case part.FileName() == "":
			s.violate("%s: part %q has no file name", c.where(), part.FormName())
		case len(content) > maxFile:
			return &apiError{status: http.StatusRequestEntityTooLarge, code: 40005}
		default:
			place, _ := strconv.Atoi(n[1])
			c.files = append(c.files, File{Name: part.FileName(), ContentType: part.Header.Get("Content-Type"), Content: content, place: place, ID: s.id()})
		}
	}
	if c.body == nil {
		return unread // without words or components there is nothing that we read
	}
	return nil
}

// attachments reads the list of attachments, which describes files, and finds
// the files that components show.
func (p *problems) attachments(body map[string]any, files []File, components []any, on place) []File {
	files = slices.Clone(files)
	for i, v := range p.array("attachments", body["attachments"], 0, 10) {
		at := fmt.Sprintf("attachments.%d", i)
		m := p.object(at, v)
		if m == nil {
			continue
		}
		p.keys(at, m, "id!", "filename", "description")
		place, isNumber := number(m["id"])
		if t, isText := m["id"].(string); isText {
			n, err := strconv.Atoi(t)
			place, isNumber = n, err == nil
		}
		f := slices.IndexFunc(files, func(f File) bool { return f.place == place })
		if !isNumber || f < 0 {
			p.bad(at+".id", "DISCORDTEST", "this Discord knows attachments that come with the call only")
			continue
		}
		if name := p.opt(at+".filename", m["filename"], 1, maxFileName); name != "" {
			files[f].Name = name
		}
		files[f].Description = p.opt(at+".description", m["description"], 0, maxMediaText)
	}
	each("components", components, func(path string, media, item map[string]any) {
		f := slices.IndexFunc(files, func(f File) bool { return text(media, "url") == "attachment://"+f.Name })
		// A message that is changed does not find what comes with the change:
		// github.com/discord/discord-api-docs/issues/7529.
		if scheme := schemeOf(text(media, "url")); scheme == "attachment" && (f < 0 || on.edits()) {
			p.bad(path+".media", "UNFURLED_MEDIA_ITEM_REFERENCED_ATTACHMENT_NOT_FOUND", "The referenced attachment was not found")
		} else if f >= 0 {
			if _, _, err := image.DecodeConfig(bytes.NewReader(files[f].Content)); err != nil {
				p.mute("%s: %s is no picture: %v", path, files[f].Name, err)
			}
			if text(item, "description") == "" {
				p.mute("%s: a picture without a description, which those who cannot see it need", path)
			}
			files[f].shown = true
			media["attachment_id"] = files[f].ID
		}
	})
	for _, f := range files {
		if !f.shown && len(p.list) == 0 {
			p.mute("files[%d]: %s is shown by no component", f.place, f.Name)
		}
	}
	return files
}

// each visits the media of galleries in a list of components at a path.
func each(path string, components any, visit func(path string, media, item map[string]any)) {
	list, _ := components.([]any)
	for i, c := range list {
		m, _ := c.(map[string]any)
		at := fmt.Sprintf("%s.%d", path, i)
		each(at+".components", m["components"], visit)
		items, _ := m["items"].([]any)
		for j, v := range items {
			item, _ := v.(map[string]any)
			if media, isObject := item["media"].(map[string]any); isObject {
				visit(fmt.Sprintf("%s.items.%d", at, j), media, item)
			}
		}
	}
}

// fileURL is a file's place in Discord's storage, which this Discord does not
// serve.
func (s *Server) fileURL(m *message, f File) string {
	return fmt.Sprintf("https://cdn.discordapp.com/ephemeral-attachments/%s/%s/%s", m.Channel, f.ID, f.Name)
}

// unfurled gives the media of a message the addresses and sizes that answers
// have.
func (s *Server) unfurled(m *message) {
	each("", m.components, func(_ string, media, item map[string]any) {
		i := slices.IndexFunc(m.files, func(f File) bool { return f.ID == media["attachment_id"] })
		if i < 0 {
			return
		}
		f := m.files[i]
		size, _, _ := image.DecodeConfig(bytes.NewReader(f.Content)) // it was looked at before
		media["id"], media["url"], media["proxy_url"] = s.id(), s.fileURL(m, f), s.fileURL(m, f)
		media["width"], media["height"], media["content_type"] = size.Width, size.Height, f.ContentType
		if _, there := item["description"]; !there {
			item["description"] = nil
		}
	})
}
