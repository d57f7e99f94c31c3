package netpoll

import (
	"net"
	"sync"
)

// netDriver runs each loop on a goroutine that sleeps until it is triggered.
type netDriver struct {
	srv  *Server
	quit chan struct{}
	wg   sync.WaitGroup
}

func (d *netDriver) start(s *Server) error {
	d.srv, d.quit = s, make(chan struct{})
	for _, l := range s.loops {
		bell := make(chan struct{}, 1)
		l.trigger = func() {
			select {
			case bell <- struct{}{}:
			default:
			}
		}
		l.again = l.trigger
		d.wg.Go(func() {
			for {
				select {
				case <-bell:
					l.run()
				case <-d.quit:
					return
				}
			}
		})
	}
	return nil
}

func (d *netDriver) enroll(nc *net.TCPConn) error {
	d.srv.readers.Go(func() { d.srv.newStream(nc, nil).readLoop(readBufferBytes) })
	return nil
}

func (d *netDriver) stop() {
	close(d.quit)
	d.wg.Wait()
}
