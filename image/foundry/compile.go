package foundry

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// tail is how many lines of a failed build's output the error shows.
const tail = 15

// compile runs the stages in the namespaces, one after the other, and reads what
// they made.
func (b *build) compile(ctx context.Context) (string, error) {
	if b.cached {
		return "not needed", nil
	}
	built := 0
	for _, s := range b.recipe.Stages {
		command := b.namespaced(ctx, b.toolchain, b.work, append(s.Script[:len(s.Script):len(s.Script)], strconv.Itoa(jobs())))
		n, err := b.follow(command, built)
		if err != nil {
			return "", err
		}
		built = n
		if s.Check == nil {
			continue
		}
		if err := s.Check(b.root); err != nil {
			return "", err
		}
	}
	var err error
	if b.content, err = b.recipe.Finish(b.root); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d objects, %d KB", built, len(b.content)>>10), nil
}

// follow runs one stage, tells its progress, and returns how many objects were
// built, counted from built. The error of a failed build shows the end of its output.
func (b *build) follow(command *exec.Cmd, built int) (int, error) {
	output, err := command.StdoutPipe()
	if err != nil {
		return 0, fmt.Errorf("run build: %w", err)
	}
	command.Stderr = command.Stdout
	if err := command.Start(); err != nil {
		return 0, b.recipe.namespaceError(err)
	}
	var last, complaints []string
	lines := bufio.NewScanner(output)
	lines.Buffer(make([]byte, 64<<10), 4<<20)
	for lines.Scan() {
		line := lines.Text()
		if name, ok := b.notable(line); ok {
			built++
			b.note("%d: %s", built, name)
		}
		if last = append(last, shorten(line)); len(last) > tail {
			// With several jobs the cause is far above the end.
			if strings.Contains(strings.ToLower(last[0]), "error") && len(complaints) < tail {
				complaints = append(complaints, last[0])
			}
			last = last[1:]
		}
	}
	last = append(complaints, last...)
	err = errors.Join(lines.Err(), command.Wait())
	var exit *exec.ExitError
	switch {
	case err == nil:
		return built, nil
	case errors.As(err, &exit) && exit.ExitCode() == enterFailed:
		return built, b.recipe.namespaceError(errors.New(strings.Join(last, "; ")))
	}
	return built, fmt.Errorf("the build failed: %w; its last lines:\n%s", err, strings.Join(last, "\n"))
}

func (b *build) notable(line string) (string, bool) {
	if b.recipe.Notable == nil {
		return "", false
	}
	return b.recipe.Notable(line)
}

func (b *build) note(format string, args ...any) {
	if b.Note != nil {
		b.Note(format, args...)
	}
}

// shorten cuts compilers' command lines.
func shorten(line string) string {
	if len(line) > 300 {
		return line[:300] + "…"
	}
	return line
}
