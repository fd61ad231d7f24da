package slack

import "strings"

// MsgRotation says what to do where the tokens of an app expire.
const MsgRotation = "token rotation is on, which Countersign does not support and Slack does not switch off again: " +
	"make the app anew from what countersign slack-manifest prints, leave token rotation off, and use the Bot User OAuth Token of that app, which begins with xoxb-"

// MsgRotating says what token is if it is one of an app whose tokens expire, and
// what to do; else it is "". It holds nothing of the token
// (docs.slack.dev/authentication/using-token-rotation).
func MsgRotating(token string) string {
	switch {
	case strings.HasPrefix(token, "xoxe.xoxb-"):
		return "expires: " + MsgRotation
	case strings.HasPrefix(token, "xoxe.xoxp-"):
		return "is a user or configuration token, not a bot token, and expires: " + MsgRotation
	case strings.HasPrefix(token, "xoxe-"), strings.HasPrefix(token, "xoxe."):
		return "is a refresh token, not a bot token: " + MsgRotation
	}
	return ""
}
