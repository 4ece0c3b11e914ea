// Package display holds the one option of Pulumi's display package that the `env` commands set.
package display

import "github.com/pulumi/pulumi/sdk/v3/go/common/diag/colors"

// Options says how a sign-in prompt is shown.
type Options struct {
	Color colors.Colorization
}
