package profile

import (
	"embed"
	"strings"
)

//go:embed presets/*.toml
var presets embed.FS

// Presets lists the ready drivers that a profile can build on.
func Presets() []string {
	entries, err := presets.ReadDir("presets")
	if err != nil {
		panic("profile: internal error: " + err.Error())
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".toml"))
	}
	return names
}

// buildOnPreset puts the preset that the profile names under the profile's own
// driver settings. A name that is no preset is left for check to report.
func (d *Doc) buildOnPreset() {
	driver := d.root.table["driver"]
	if driver == nil || driver.table == nil || driver.table["preset"] == nil {
		return
	}
	name, _ := driver.table["preset"].value.(string)
	data, err := presets.ReadFile("presets/" + name + ".toml")
	if err != nil {
		return
	}
	base := Read("presets/"+name+".toml", data)
	d.mistakes = append(d.mistakes, base.mistakes...)
	d.root.table["driver"] = merged(base.root, driver)
}
