package script

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"zabra.dev/zabra/server/config"
)

// status finds the client port and asks there for the mode of the server.
func (p *program) status() int {
	props := p.properties()
	address := value(props, "clientPortAddress")
	if address == "" {
		address = "localhost"
	}
	port := value(props, "clientPort")
	if !digits(port) {
		port = ""
		id := p.myID(props)
		if id == "" {
			p.say("myid could not be determined, will not able to locate clientPort in the server configs.")
		} else if member, ok := p.memberListener(props, id); ok {
			port, address = strconv.Itoa(member.Port), member.Host
		}
	}
	secure := false
	if port == "" {
		p.say("Client port not found. Looking for secureClientPort in the static config.")
		if port = value(props, "secureClientPort"); port == "" {
			p.say("Unable to find either secure or unsecure client port in any configs. Terminating.")
			return 1
		}
		secure = true
		if a := value(props, "secureClientPortAddress"); a != "" {
			address = a
		}
	}
	p.say("Client port found: %s. Client address: %s. Client SSL: %t.", port, address, secure)
	if mode := p.askMode(address, port, secure); mode != "" {
		p.say("%s", mode)
		return 0
	}
	if secure {
		p.tlsHint(port)
	}
	p.say("Error contacting service. It is probably not running.")
	return 1
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// myID returns the text of the myid file, empty when it is no number.
func (p *program) myID(props *config.Properties) string {
	text, err := os.ReadFile(value(props, "dataDir") + "/" + config.MyIDFile)
	if err != nil {
		return ""
	}
	id, err := config.ParseMyID(text)
	if err != nil || id < 0 {
		return ""
	}
	return strconv.FormatInt(id, 10)
}

// memberListener finds the client part of the own member line, in zoo.cfg or in the dynamic file.
func (p *program) memberListener(props *config.Properties, id string) (config.Listener, bool) {
	find := func(props *config.Properties) (config.Listener, bool) {
		line, ok := props.Get("server." + id)
		if !ok {
			return config.Listener{}, false
		}
		m, err := config.ParseMember(0, line, true)
		if err != nil {
			p.hint("%v", err)
		}
		return m.Client, err == nil && m.Client.Enabled
	}
	if l, ok := find(props); ok {
		return l, true
	}
	p.say("Client port not found in static config file. Looking in dynamic config file.")
	if path := value(props, "dynamicConfigFile"); path != "" {
		text, err := os.ReadFile(path)
		if err == nil {
			props, err = config.ParseProperties(text)
		}
		if err != nil {
			p.hint("%v", err)
		} else if l, ok := find(props); ok {
			return l, true
		}
	}
	p.say("Client port not found in the server configs")
	return config.Listener{}, false
}

// answerTime bounds each step of asking a server; answerMax the length of its answer in bytes.
const (
	answerTime = 5 * time.Second
	answerMax  = 1 << 16
)

// askMode sends srvr and returns the line with Mode, or nothing.
func (p *program) askMode(host, port string, secure bool) string {
	host = strings.Trim(host, "[]")
	if a, err := netip.ParseAddr(host); err == nil && a.IsUnspecified() {
		host = "localhost" // the wildcard address is for listening
	}
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), answerTime)
	if err != nil {
		return ""
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return ""
	}
	if secure {
		// The server is not authenticated: nothing secret is sent and nothing is done with the answer.
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	if _, err := io.WriteString(conn, "srvr"); err != nil {
		return ""
	}
	// A connection that breaks after the answer has still answered.
	answer, _ := io.ReadAll(io.LimitReader(conn, answerMax))
	for _, line := range strings.Split(string(answer), "\n") {
		if strings.Contains(line, "Mode") {
			return line
		}
	}
	return ""
}

// tlsHint explains a failure to connect to the secure port, in the words of the original.
func (p *program) tlsHint(port string) {
	p.say(" ")
	p.say("Note: We used secureClientPort (%s) to establish connection, but we failed. The 'status'", port)
	p.say("  command establishes a client connection to the server to execute diagnostic commands. Please make sure you")
	p.say("  provided all the Client SSL connection related parameters in the CLIENT_JVMFLAGS environment variable! E.g.:")
	p.say(`  CLIENT_JVMFLAGS="-Dzookeeper.clientCnxnSocket=org.apache.zookeeper.ClientCnxnSocketNetty`)
	p.say("  -Dzookeeper.ssl.trustStore.location=/tmp/clienttrust.jks -Dzookeeper.ssl.trustStore.password=password")
	p.say("  -Dzookeeper.ssl.keyStore.location=/tmp/client.jks -Dzookeeper.ssl.keyStore.password=password")
	p.say(`  -Dzookeeper.client.secure=true" ./zkServer.sh status`)
	p.say(" ")
}
