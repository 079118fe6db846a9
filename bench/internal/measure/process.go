package measure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is a program under measurement or beside it.
type Process struct {
	cmd *exec.Cmd
	log *os.File
	// In and Out are its standard input and output, if it was started with Talk.
	In  io.WriteCloser
	Out io.Reader
}

// Start runs path and waits until it answers on addr.
func Start(ctx context.Context, addr, path string, args ...string) (*Process, error) {
	p, err := prepare(ctx, path, args)
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(15 * time.Second)
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return p, conn.Close()
		}
		if time.Now().After(deadline) {
			p.Stop()
			return nil, fmt.Errorf("%s does not answer on %s: %w\n%s", path, addr, err, p.Log())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Talk runs path with pipes to its input and output.
func Talk(ctx context.Context, path string, args ...string) (*Process, error) {
	p, err := prepare(ctx, path, args)
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout = nil
	if p.In, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if p.Out, err = p.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	return p, p.cmd.Start()
}

// prepare sends what the program says to a file, and ends it with this process.
func prepare(ctx context.Context, path string, args []string) (*Process, error) {
	p := &Process{cmd: exec.CommandContext(ctx, path, args...)} //nolint:gosec // the program that is measured
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.CreateTemp("", "bench-*.log")
	if err != nil {
		return nil, err
	}
	p.log = log
	p.cmd.Stdout, p.cmd.Stderr = log, log
	return p, nil
}

// Pid is the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Log is what the program has said.
func (p *Process) Log() string {
	text, _ := os.ReadFile(p.log.Name()) // for a message that says more anyway
	return string(text)
}

// Stop ends the program and waits for it.
func (p *Process) Stop() {
	if p.In != nil {
		_ = p.In.Close() // which is what it waits for
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	timer := time.AfterFunc(30*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	_ = p.cmd.Wait() // ended by a signal
	_ = p.log.Close()
	_ = os.Remove(p.log.Name()) // it was for messages only
}

// CPU is the user and system time that the program has used.
func (p *Process) CPU() (time.Duration, error) { return CPU(p.Pid()) }

// CPU is the user and system time of a process.
func CPU(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, after, ok := strings.Cut(string(text), ") ")
	fields := strings.Fields(after)
	if !ok || len(fields) < 13 {
		return 0, errors.New("unexpected /proc/PID/stat")
	}
	ticks := 0
	for _, f := range fields[11:13] { // utime and stime, in 1/100 s
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// Memory is the resident memory of the program in bytes, now and at its most.
func (p *Process) Memory() (now, peak int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		for name, into := range map[string]*int64{"VmRSS:": &now, "VmHWM:": &peak} {
			if rest, ok := strings.CutPrefix(line, name); ok {
				if _, err := fmt.Sscanf(rest, "%d kB", into); err != nil {
					return 0, 0, fmt.Errorf("read /proc/PID/status: %w", err)
				}
				*into <<= 10
			}
		}
	}
	if now == 0 || peak == 0 {
		return 0, 0, errors.New("unexpected /proc/PID/status")
	}
	return now, peak, nil
}
