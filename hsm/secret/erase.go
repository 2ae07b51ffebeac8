package secret

import (
	"reflect"
	"unsafe"
)

// Erase overwrites what p points to and says whether it did: it must be a pointer
// to something without pointers. It is for the ciphers and hashes of the standard
// library, which hold a key or a part of a message and have no way to forget it.
// What p points to must never be used again: a cipher would go on under a key of
// zeros.
func Erase(p any) bool {
	v := reflect.ValueOf(p)
	if v.Kind() != reflect.Pointer || v.IsNil() || !flat(v.Type().Elem()) {
		return false
	}
	Wipe(unsafe.Slice((*byte)(v.UnsafePointer()), v.Type().Elem().Size()))
	return true
}

// flat says whether values of the type hold no pointers, which nobody but the
// collector may change.
func flat(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Array:
		return flat(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if !flat(t.Field(i).Type) {
				return false
			}
		}
		return true
	}
	return reflect.Bool <= t.Kind() && t.Kind() <= reflect.Complex128 && t.Kind() != reflect.Uintptr
}
