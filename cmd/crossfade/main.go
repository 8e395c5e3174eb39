// Command crossfade is an inference gateway that fades one model into the next.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the release build; other builds show what Go recorded.
var version = ""

func main() {
	if err := newRootCommand().Execute(); err != nil {
		var quiet quietError
		if !errors.As(err, &quiet) {
			fmt.Fprintln(os.Stderr, "crossfade:", err)
		}
		os.Exit(exitCode(err))
	}
}

// quietError fails a command that has already said why.
type quietError struct{ error }

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "crossfade",
		Short: "An inference gateway that fades one model into the next",
		Long: `Crossfade is a gateway for self-hosted language models. It understands the
Kubernetes Gateway API and its Inference Extension, splits traffic between model
versions and LoRA adapters, and picks the best replica for each request.`,
		Version:       versionText(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetVersionTemplate("crossfade {{.Version}}\n")
	root.AddCommand(newUpCommand(), newControllerCommand(), newGatewayCommand(), newCheckCommand(), newStatusCommand(), newExplainCommand(), newRolloutCommand(), newLoadCommand(), newSimCommand())
	return root
}

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
