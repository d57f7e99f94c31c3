package transport

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/quorum"
)

// cnx is one connection of the election port, past its handshake.
type cnx struct {
	conn net.Conn
	// wake has room for one: something may wait to be sent.
	wake chan struct{}
	done chan struct{} // closed by close
	once sync.Once
}

// close ends the connection; its goroutines follow. It may be called any number of times.
func (c *cnx) close() {
	c.once.Do(func() {
		close(c.done)
		c.conn.Close() // the reader reports why it ended
	})
}

func (c *cnx) wakeWriter() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run makes conn the connection with server id, in place of an older one, and reads from it until it
// ends. It takes conn.
func (m *CnxManager) run(conn net.Conn, id quorum.ServerID, generation int) {
	c := &cnx{conn: conn, wake: make(chan struct{}, 1), done: make(chan struct{})}
	m.mu.Lock()
	if m.mu.closed || generation != m.mu.generation || m.isFullLocked(id) {
		m.mu.Unlock()
		conn.Close()
		return
	}
	p := m.peerLocked(id)
	if p.cnx != nil {
		p.cnx.close()
	}
	p.cnx = c
	if p.knocked != nil {
		close(p.knocked)
		p.knocked = nil
	}
	m.mu.Unlock()
	m.emit(generation, Event{Kind: PeerUp, From: id})
	var writer sync.WaitGroup
	writer.Add(1)
	go func() { // ends with the reader, which waits for it
		defer writer.Done()
		m.write(c, p)
	}()

	err := m.read(c, id, generation)
	broken := false
	select {
	case <-c.done: // closed by this server
	default:
		broken = true
	}
	c.close()
	writer.Wait()
	m.mu.Lock()
	if p.cnx == c {
		p.cnx = nil
		// Often the peer has died, and what was sent last went nowhere: that, or that nobody is there any
		// more, should not have to wait for the next repetition.
		lost := p.waiting != nil || time.Since(p.sentAt) < lostWithin
		if broken && lost && p.retry && !m.mu.closed && generation == m.mu.generation {
			p.retry = false
			m.dialLocked(p)
		}
	}
	m.mu.Unlock()
	if broken && m.ctx.Err() == nil {
		log := m.log.With("thread", fmt.Sprintf("RecvWorker:%d", id))
		log.Warn(fmt.Sprintf("Connection broken for id %d, my id = %d", id, m.opts.Self), "err", err)
		log.Warn(fmt.Sprintf("Interrupting SendWorker thread from RecvWorker. sid: %d. myId: %d", id, m.opts.Self))
		log = m.log.With("thread", fmt.Sprintf("SendWorker:%d", id))
		log.Warn("Interrupted while waiting for message on queue")
		log.Warn(fmt.Sprintf("Send worker leaving thread id %d my id = %d", id, m.opts.Self))
	}
}

// write is the writer goroutine of a connection: it sends what waits, at the beginning in lack of that
// what was sent last, in case the peer has not got it.
func (m *CnxManager) write(c *cnx, p *cnxPeer) {
	first := true
	for {
		m.mu.Lock()
		frame := p.waiting
		if frame != nil {
			p.waiting, p.last, p.sentAt = nil, frame, time.Now()
		} else if first {
			frame = p.last
		}
		m.mu.Unlock()
		first = false
		if frame != nil {
			err := c.conn.SetWriteDeadline(time.Now().Add(m.opts.ConnectTimeout))
			if err == nil {
				_, err = c.conn.Write(frame)
			}
			if err != nil {
				c.conn.Close() // the reader ends with an error, and reports it
				return
			}
			continue
		}
		select {
		case <-c.wake:
		case <-c.done:
			return
		}
	}
}

var errFrame = errors.New("transport: unreasonable message length")

// read is the reader of a connection; it returns why it ended.
func (m *CnxManager) read(c *cnx, id quorum.ServerID, generation int) error {
	in := bufio.NewReader(c.conn)
	var msg []byte
	var text []byte // of the last config, which rarely changes
	var config *quorum.Config
	for {
		var head [4]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return err
		}
		n := int(jute.Int32(head[:]))
		if n <= 0 || n > quorum.NotificationMaxBytes {
			return fmt.Errorf("%w: %d", errFrame, n)
		}
		msg = msg[:0]
		for len(msg) < n { // in pieces: a length alone must not cost memory
			k := min(n-len(msg), slabBytes)
			msg = append(msg, make([]byte, k)...)
			if _, err := io.ReadFull(in, msg[len(msg)-k:]); err != nil {
				return err
			}
		}
		notification, configText, err := quorum.DecodeNotification(msg)
		if err != nil {
			m.log.Warn(fmt.Sprintf("Skipping the processing of a partial / malformed response message sent by sid=%d (message length: %d)", id, n), "err", err)
			continue
		}
		if configText != nil {
			if config == nil || !bytes.Equal(configText, text) {
				text = append(text[:0], configText...)
				if config, err = quorum.ParseConfig(configText); err != nil {
					m.log.Error(fmt.Sprintf("Something went wrong while processing config received from %d", id), "err", err)
				}
			}
			notification.Config = config
		}
		m.emit(generation, Event{Kind: Notified, From: id, Notification: notification})
	}
}
