// Command pulumi is the `env` part of the Pulumi CLI: the commands are Pulumi's own, from its ESC module.
// Around them stands what a caller of the full CLI relies on: signing in, `version`, `whoami`, `login`, the global
// flags, and the exit codes.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/pulumi/esc/cmd/esc/cli"
	escworkspace "github.com/pulumi/esc/cmd/esc/cli/workspace"
	"github.com/pulumi/pulumi/pkg/v3/backend/display"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/cmdutil"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	"github.com/spf13/cobra"
)

const (
	defaultCloud = "https://api.pulumi.com"

	exitFailure = 1
	// exitNotSignedIn is what Pulumi's CLI exits with when it has no token and nobody to ask for one.
	exitNotSignedIn = 3
)

func main() {
	if err := rootCommand().Execute(); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		if errors.Is(err, errNoToken) {
			os.Exit(exitNotSignedIn)
		}
		os.Exit(exitFailure)
	}
}

func rootCommand() *cobra.Command {
	var color string
	root := &cobra.Command{
		Use:           "pulumi",
		Short:         "Pulumi ESC environments from the command line",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return cmdutil.SetGlobalColorization(color)
		},
	}
	root.PersistentFlags().StringVar(&color, "color", "auto",
		"Colorize output. Choices are: always, never, raw, auto")
	root.PersistentFlags().BoolVar(&cmdutil.DisableInteractive, "non-interactive", false,
		"Disable interactive mode for all commands")
	root.AddCommand(envCommand(), loginCommand(), versionCommand(), whoamiCommand())
	return root
}

func envCommand() *cobra.Command {
	options := &cli.Options{ParentPath: "pulumi", UserAgent: userAgent(), Login: tokenLogin{}}
	return cli.New(options).Commands()[0]
}

func loginCommand() *cobra.Command {
	var insecure bool
	command := &cobra.Command{
		Use:   "login [<url>]",
		Short: "Log in to the Pulumi Cloud",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			cloud := currentCloud()
			if len(args) > 0 {
				cloud = args[0]
			}
			account, err := signIn(command, cloud, insecure, true)
			if err != nil {
				return fmt.Errorf("problem logging in: %w", err)
			}
			fmt.Printf("Logged in to %s as %s\n", cloud, account.Username)
			return nil
		},
	}
	command.Flags().BoolVar(&insecure, "insecure", false, "Allow insecure server connections when using SSL")
	return command
}

func whoamiCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "whoami",
		Short: "Display the current logged-in user",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			account, err := signIn(command, currentCloud(), false, false)
			if err != nil {
				return err
			}
			fmt.Println(account.Username)
			return nil
		},
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print Pulumi's version number",
		Args:  cobra.NoArgs,
		Run: func(*cobra.Command, []string) {
			fmt.Println(version())
		},
	}
}

func signIn(command *cobra.Command, cloud string, insecure, setCurrent bool) (*workspace.Account, error) {
	return tokenLogin{}.Login(
		command.Context(), cloud, insecure, "pulumi", "Pulumi ESC environments", nil, setCurrent, display.Options{})
}

// currentCloud is the service that the `env` commands would ask: the environment's, else the last one logged in to.
func currentCloud() string {
	for _, name := range []string{escworkspace.PulumiBackendURLEnvVar, escworkspace.PulumiAPIEnvVar} {
		if cloud := os.Getenv(name); cloud != "" {
			return cloud
		}
	}
	if credentials, err := workspace.GetStoredCredentials(); err == nil && credentials.Current != "" {
		return credentials.Current
	}
	return defaultCloud
}

// version is the Pulumi release that the code belongs to, and the ESC module's as build metadata.
func version() string {
	pulumi, esc := "v0.0.0", "unknown"
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, module := range build.Deps {
			switch module.Path {
			case "github.com/pulumi/pulumi/sdk/v3":
				pulumi = module.Version
			case "github.com/pulumi/esc":
				esc = strings.TrimPrefix(module.Version, "v")
			}
		}
	}
	return fmt.Sprintf("%s+esc.%s", pulumi, esc)
}

func userAgent() string {
	return "pulumi-cli/1 (" + version() + ")"
}
