// The raw subcommand: a peer on the node's side that sends any bytes, for tests with malformed messages and broken connections.
package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

type rawCommand struct {
	Op        string   `json:"op"`
	ID        any      `json:"id"`
	Hex       hexBytes `json:"hex"`
	Frame     bool     `json:"frame"`
	Layer     string   `json:"layer"`
	Handshake *bool    `json:"handshake"`
	TimeoutMS int64    `json:"timeout_ms"`
	Max       int      `json:"max"`
	Repeat    int      `json:"repeat"`
	Chunk     int      `json:"chunk"`
	DelayMS   int64    `json:"delay_ms"`
}

// rawPeer holds the socket and the channel over it: the socket itself, or a SecretConnection.
type rawPeer struct {
	ln        net.Listener
	tcp       bool
	handshake bool
	socket    net.Conn
	channel   net.Conn
}

const rawMaxFrame = 16 << 20

func runRaw(args []string) error {
	fs := flag.NewFlagSet("raw", flag.ContinueOnError)
	addr := fs.String("listen", "", "unix://PATH or tcp://127.0.0.1:PORT (port 0: any)")
	noHandshake := fs.Bool("no-handshake", false, "tcp: leave the SecretConnection out")
	timeout := fs.Duration("timeout", 10*time.Second, "how long to wait for the first connection; 0 waits for the accept command instead")
	if err := parse(fs, args); err != nil {
		return err
	}
	ln, bound, err := listen(*addr)
	if err != nil {
		return err
	}
	defer ln.Close()
	p := &rawPeer{ln: ln, tcp: strings.HasPrefix(bound, "tcp:"), handshake: !*noHandshake}
	emit(map[string]any{"event": "listening", "addr": bound, "line": line})
	if *timeout > 0 {
		if err := p.accept(*timeout, p.handshake); err != nil {
			return err
		}
		emit(map[string]any{"event": "connected"})
	}
	return eachLine(os.Stdin, func(text []byte) bool {
		var cmd rawCommand
		if err := json.Unmarshal(text, &cmd); err != nil {
			emit(map[string]any{"ok": false, "error": clientError{Kind: "harness", Message: err.Error()}})
			return true
		}
		out := map[string]any{"op": cmd.Op}
		if cmd.ID != nil {
			out["id"] = cmd.ID
		}
		start := time.Now()
		var err error
		if panicked := guarded(func() { err = p.do(&cmd, out) }); panicked != "" {
			err = fmt.Errorf("panic: %s", panicked)
		}
		out["latency_ns"] = time.Since(start).Nanoseconds()
		out["ok"] = err == nil
		if err != nil {
			e := classify(err)
			out["error"] = e
			out["eof"] = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		}
		emit(out)
		return cmd.Op != "exit"
	})
}

func (p *rawPeer) accept(timeout time.Duration, handshake bool) error {
	p.close()
	d, ok := p.ln.(interface{ SetDeadline(time.Time) error })
	if ok {
		if err := d.SetDeadline(time.Now().Add(timeout)); err != nil {
			return err
		}
	}
	conn, err := p.ln.Accept()
	if err != nil {
		return err
	}
	p.socket, p.channel = conn, conn
	if p.tcp && handshake {
		if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
			return err
		}
		sc, err := makeSecretConnection(conn, genEd25519())
		if err != nil {
			p.close()
			return fmt.Errorf("handshake: %w", err)
		}
		p.channel = sc
		return conn.SetDeadline(time.Time{})
	}
	return nil
}

func (p *rawPeer) close() {
	if p.socket != nil {
		_ = p.socket.Close()
	}
	p.socket, p.channel = nil, nil
}

func (p *rawPeer) do(cmd *rawCommand, out map[string]any) error {
	timeout := 5 * time.Second
	if cmd.TimeoutMS > 0 {
		timeout = time.Duration(cmd.TimeoutMS) * time.Millisecond
	}
	switch cmd.Op {
	case "exit":
		p.close()
		return nil
	case "accept":
		handshake := p.handshake
		if cmd.Handshake != nil {
			handshake = *cmd.Handshake
		}
		return p.accept(timeout, handshake)
	case "close":
		p.close()
		return nil
	}
	if p.socket == nil {
		return errNoConnection
	}
	conn := p.channel
	if cmd.Layer == "socket" {
		conn = p.socket
	}
	deadline := time.Now().Add(timeout)
	switch cmd.Op {
	case "send":
		return p.send(conn, cmd, deadline)
	case "request":
		cmd.Frame = true
		if err := p.send(conn, cmd, deadline); err != nil {
			return err
		}
		return readFrame(conn, deadline, out)
	case "read":
		return readFrame(conn, deadline, out)
	case "read_raw":
		if cmd.Max <= 0 {
			cmd.Max = 4096
		}
		buf := make([]byte, min(cmd.Max, rawMaxFrame))
		if err := p.socket.SetReadDeadline(deadline); err != nil {
			return err
		}
		n, err := conn.Read(buf)
		out["hex"] = hexBytes(buf[:n])
		return err
	case "half_close":
		if h, ok := p.socket.(interface{ CloseWrite() error }); ok {
			return h.CloseWrite()
		}
		return usageError("this socket has no half close")
	case "abort":
		// On TCP the peer sees a reset; on a Unix socket there is none, and this is a close.
		if t, ok := p.socket.(*net.TCPConn); ok {
			if err := t.SetLinger(0); err != nil {
				return err
			}
		}
		p.close()
		return nil
	}
	return usageError(fmt.Sprintf("unknown op %q", cmd.Op))
}

func (p *rawPeer) send(conn net.Conn, cmd *rawCommand, deadline time.Time) error {
	data := []byte(cmd.Hex)
	if cmd.Frame {
		data = append(binary.AppendUvarint(nil, uint64(len(data))), data...)
	}
	if cmd.Repeat > 1 {
		if len(data)*cmd.Repeat > rawMaxFrame {
			return usageError("too many bytes to send at once")
		}
		one := data
		data = nil
		for range cmd.Repeat {
			data = append(data, one...)
		}
	}
	if err := p.socket.SetWriteDeadline(deadline); err != nil {
		return err
	}
	if cmd.Chunk <= 0 {
		cmd.Chunk = max(len(data), 1)
	}
	for len(data) > 0 {
		n := min(cmd.Chunk, len(data))
		if _, err := conn.Write(data[:n]); err != nil {
			return err
		}
		data = data[n:]
		if cmd.DelayMS > 0 && len(data) > 0 {
			time.Sleep(time.Duration(cmd.DelayMS) * time.Millisecond)
		}
	}
	return nil
}

// readFrame reads one length-prefixed message.
func readFrame(conn net.Conn, deadline time.Time, out map[string]any) error {
	if err := conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	var prefix [1]byte
	var length uint64
	for shift := 0; ; shift += 7 {
		if _, err := io.ReadFull(conn, prefix[:]); err != nil {
			return err
		}
		length |= uint64(prefix[0]&0x7f) << shift
		if prefix[0] < 0x80 {
			break
		}
		if shift >= 63 {
			return errors.New("the length prefix does not end")
		}
	}
	if length > rawMaxFrame {
		return fmt.Errorf("the answer announces %d bytes", length)
	}
	body := make([]byte, length)
	n, err := io.ReadFull(conn, body)
	out["hex"], out["length"] = hexBytes(body[:n]), length
	if err != nil {
		return err
	}
	out["message"] = describeBytes(body, nil)
	return nil
}
