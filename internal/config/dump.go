package config

import "fmt"

// MarshalJSON returns the document as it was resolved, without its secrets.
func (d Document) MarshalJSON() ([]byte, error) { return d.root.MarshalJSON() }

// Format prints MarshalJSON whatever the verb, so that no log line can hold a secret.
func (d Document) Format(f fmt.State, _ rune) { fmt.Fprint(f, d.root.String()) }

// MarshalJSON returns the scenario's block as it was resolved, without its secrets.
func (s Scenario) MarshalJSON() ([]byte, error) { return s.At.MarshalJSON() }

// Format prints MarshalJSON whatever the verb.
func (s Scenario) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.At.String()) }
