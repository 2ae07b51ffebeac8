package records

// A credential keeps the scope that it had first: values that were claimed under
// the other scope have other indexes, so a changed scope would make them free
// again.

const keyScope = 's'

func scopeKey(product, credential string) []byte { return pairKey(keyScope, product, credential) }

// pinScopes keeps the scope of each credential of p, or refuses one that changed.
func (t *txn) pinScopes(p Product) error {
	if err := checkScopes(t, p); err != nil {
		return err
	}
	for _, s := range p.Credentials {
		t.set(scopeKey(p.ID, s.Name), []byte(s.scopeName()))
	}
	return nil
}

// checkScopes refuses a product whose credentials had another scope before.
func checkScopes(g getter, p Product) error {
	for _, s := range p.Credentials {
		was, found, err := g.get(scopeKey(p.ID, s.Name))
		if err != nil {
			return err
		}
		if found && string(was) != s.scopeName() {
			return refuse("put the scope back, or give the credential a new name and keep the old values out by their history",
				"credential %s of product %s was unique in the %s until now, the profile wants the %s", s.Name, p.ID, was, s.scopeName())
		}
	}
	return nil
}

// scopeName is the scope as a profile writes it.
func (s Spec) scopeName() string {
	if s.ProductScope {
		return "product"
	}
	return "ledger"
}
