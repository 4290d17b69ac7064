// SPDX-License-Identifier: MIT

package chord

import (
	"fmt"
	"net"
	"strconv"
	"sync"
)

// Whom to ask where no hint tells: the members that were named, and those that answers name. One
// that fails goes to the end of the line.

const (
	membersMax      = 64
	addressBytesMax = 63
)

type members struct {
	lock      sync.Mutex
	addresses []string
}

func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	number, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || number == 0 || host == "" || len(address) > addressBytesMax {
		return fmt.Errorf("%q is no address; give host:port, at most %d bytes", address, addressBytesMax)
	}
	return nil
}

func (m *members) has(address string) bool {
	for _, known := range m.addresses {
		if known == address {
			return true
		}
	}
	return false
}

func (m *members) learn(address string) {
	m.lock.Lock()
	defer m.lock.Unlock()
	if len(m.addresses) < membersMax && !m.has(address) {
		m.addresses = append(m.addresses, address)
	}
}

// pick gives the first in the line that is not to be avoided, or the first where all are.
func (m *members) pick(avoid map[string]bool) string {
	m.lock.Lock()
	defer m.lock.Unlock()
	for _, address := range m.addresses {
		if !avoid[address] {
			return address
		}
	}
	return m.addresses[0]
}

// demote puts one that failed to the end of the line.
func (m *members) demote(address string) {
	m.lock.Lock()
	defer m.lock.Unlock()
	if m.addresses[0] == address {
		m.addresses = append(m.addresses[1:], address)
	}
}

// allIn reports whether each known member is in the set.
func (m *members) allIn(set map[string]bool) bool {
	m.lock.Lock()
	defer m.lock.Unlock()
	for _, address := range m.addresses {
		if !set[address] {
			return false
		}
	}
	return true
}

func (m *members) count() int {
	m.lock.Lock()
	defer m.lock.Unlock()
	return len(m.addresses)
}
