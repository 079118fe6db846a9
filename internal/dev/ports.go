package dev

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"syscall"
	"time"
)

// Free ports are looked for below the range from which systems take the local
// ports of outgoing connections (32768 on Linux, 49152 elsewhere): there, a
// client that dials a server which is away for a moment may be given the
// server's own port, and then holds it.
const (
	firstFreePort = 10_000
	lastFreePort  = 32_000
	// portTries bounds the search; a range without a free port is no range.
	portTries = 10_000
)

// FreePorts returns n different loopback ports that are free now.
func FreePorts(n int) ([]int, error) {
	ports := make([]int, 0, n)
	for range portTries {
		if len(ports) == n {
			return ports, nil
		}
		port := firstFreePort + rand.IntN(lastFreePort-firstFreePort)
		ln, err := net.Listen("tcp", loopback(port)) //nolint:noctx // returns at once
		if err != nil {
			continue
		}
		defer ln.Close() // all at the end, so that no port is given twice
		ports = append(ports, port)
	}
	return nil, fmt.Errorf("find %d free ports from %d to %d: %d tries", n, firstFreePort, lastFreePort, portTries)
}

// checkPort says in one line who holds port, if anybody does. It waits a
// moment first: a process that was just killed holds its ports until the last
// of its threads is gone.
func checkPort(port int) error {
	err := tryPort(port)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Second); errors.Is(err, syscall.EADDRINUSE) && time.Now().Before(deadline); err = tryPort(port) {
		<-tick.C
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	who := "another process"
	if pid := listenerPid(port); pid != 0 {
		who = fmt.Sprintf("process %d (%s)", pid, processName(pid))
	}
	return fmt.Errorf("port %d is taken by %s: stop it, choose another port, or use --free-ports", port, who)
}

func tryPort(port int) error {
	ln, err := net.Listen("tcp", loopback(port)) //nolint:noctx // returns at once
	if err != nil {
		return fmt.Errorf("listen on port %d: %w", port, err)
	}
	return ln.Close()
}
