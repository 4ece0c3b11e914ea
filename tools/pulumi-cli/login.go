package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/pulumi/esc/cmd/esc/cli/client"
	"github.com/pulumi/pulumi/pkg/v3/backend/display"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/env"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/cmdutil"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
)

// validFor is how long a stored token counts as valid without asking the service again, as in Pulumi's CLI.
const validFor = time.Hour

// errNoToken has an exit code of its own, as in Pulumi's CLI.
var errNoToken = errors.New("PULUMI_ACCESS_TOKEN must be set for login during non-interactive CLI sessions")

// tokenLogin signs in with an access token: the stored one, or the one in PULUMI_ACCESS_TOKEN, which wins.
type tokenLogin struct{}

func (tokenLogin) Current(
	ctx context.Context, cloudURL string, insecure, setCurrent bool,
) (*workspace.Account, error) {
	account, err := workspace.GetAccount(cloudURL)
	if err != nil {
		account = workspace.Account{}
	}
	token := env.AccessToken.Value()
	if token != "" && token != account.AccessToken {
		fmt.Fprintf(os.Stderr, "Logging in using access token from %s\n", env.AccessToken.Var().Name())
		return validate(ctx, cloudURL, insecure, setCurrent, workspace.Account{AccessToken: token})
	}
	if account.AccessToken == "" {
		return nil, nil
	}
	return validate(ctx, cloudURL, insecure, setCurrent, account)
}

func (login tokenLogin) Login(
	ctx context.Context,
	cloudURL string,
	insecure bool,
	_ string,
	_ string,
	_ func(display.Options),
	setCurrent bool,
	_ display.Options,
) (*workspace.Account, error) {
	account, err := login.Current(ctx, cloudURL, insecure, setCurrent)
	if account != nil || err != nil {
		return account, err
	}
	if !cmdutil.Interactive() {
		return nil, errNoToken
	}
	token, err := cmdutil.ReadConsoleNoEcho("Enter your access token")
	if err != nil {
		return nil, err
	}
	return validate(ctx, cloudURL, insecure, setCurrent, workspace.Account{AccessToken: token})
}

func (tokenLogin) LoginWithOIDCToken(
	context.Context, diag.Sink, string, bool, string, string, string, time.Duration, bool,
) (*workspace.Account, error) {
	return nil, errors.New("this build takes no OIDC token: exchange it for an access token first")
}

// validate asks the service whose token it is, unless that was answered within the hour, and stores the answer.
func validate(
	ctx context.Context, cloudURL string, insecure, setCurrent bool, account workspace.Account,
) (*workspace.Account, error) {
	if account.Username == "" || time.Since(account.LastValidatedAt) > validFor {
		service := client.New(userAgent(), cloudURL, account.AccessToken, insecure)
		username, organizations, token, err := service.GetPulumiAccountDetails(ctx)
		if err != nil {
			return nil, signInError(cloudURL, err)
		}
		account.Username = username
		account.Organizations = organizations
		account.TokenInformation = token
		account.LastValidatedAt = time.Now()
	}
	account.Insecure = insecure
	if err := workspace.StoreAccount(cloudURL, account, setCurrent); err != nil {
		return nil, err
	}
	return &account, nil
}

// signInError gives a refused token the service's own words, as Pulumi's CLI does.
func signInError(cloudURL string, err error) error {
	var refused *apitype.ErrorResponse
	if errors.As(err, &refused) && refused.Code == http.StatusUnauthorized {
		return errors.New(refused.Message)
	}
	return fmt.Errorf("getting user info from %v: %w", cloudURL, err)
}
