//go:build !linux

package wire

import (
	"errors"
	"time"
)

// A waiter is not there.
type waiter struct{}

var errNoPlace = errors.ErrUnsupported

func (*waiter) open() error            { return errors.ErrUnsupported }
func (*waiter) Close() error           { return nil }
func (*waiter) wait() ([]int32, error) { return nil, errors.ErrUnsupported }
func (*waiter) wake(time.Time)         {}
func (*waiter) add(int) error          { return errors.ErrUnsupported }
func (*waiter) remove(int)             {}
