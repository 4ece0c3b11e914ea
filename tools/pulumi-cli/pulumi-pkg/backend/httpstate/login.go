// Package httpstate declares how the `env` commands sign in to Pulumi Cloud.
//
// Pulumi's own package of this name brings the whole deployment engine along. The program that is compiled
// here hands its own LoginManager to the commands, so the declaration is all that they need.
package httpstate

import (
	"context"
	"time"

	"github.com/pulumi/pulumi/pkg/v3/backend/display"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
)

// LoginManager finds or makes the account that requests are signed with.
type LoginManager interface {
	// Current returns the account whose token is stored or set in the environment, or nil if there is none.
	Current(ctx context.Context, cloudURL string, insecure, setCurrent bool) (*workspace.Account, error)

	// Login is Current, and asks for a token where there is none and a person can answer.
	Login(
		ctx context.Context,
		cloudURL string,
		insecure bool,
		command string,
		message string,
		welcome func(display.Options),
		setCurrent bool,
		opts display.Options,
	) (*workspace.Account, error)

	// LoginWithOIDCToken exchanges an identity token for an access token.
	LoginWithOIDCToken(
		ctx context.Context,
		sink diag.Sink,
		cloudURL string,
		insecure bool,
		oidcToken string,
		organization string,
		scope string,
		expiration time.Duration,
		setCurrent bool,
	) (*workspace.Account, error)
}

// NewLoginManager is what the commands call when they are handed no LoginManager; here they always are.
func NewLoginManager() LoginManager { return nil }
