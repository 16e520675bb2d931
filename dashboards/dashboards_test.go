package dashboards_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/perfd/perfd/dashboards"
)

func TestConfigMapsHoldTheFiles(t *testing.T) {
	files, maps := dashboards.All(), dashboards.ConfigMaps()
	if len(files) != len(maps) || len(files) == 0 {
		t.Fatalf("%d ConfigMaps of %d files", len(maps), len(files))
	}
	for i, m := range maps {
		var got struct {
			Kind     string
			Metadata struct{ Labels map[string]string }
			Data     map[string]string
		}
		if err := yaml.Unmarshal(m.Text, &got); err != nil {
			t.Fatalf("%s: %v", m.Name, err)
		}
		if got.Kind != "ConfigMap" || got.Metadata.Labels["grafana_dashboard"] != "1" {
			t.Errorf("%s: is a %s with labels %v", m.Name, got.Kind, got.Metadata.Labels)
		}
		if diff := cmp.Diff(map[string]string{"perfd-" + files[i].Name: string(files[i].Text)}, got.Data); diff != "" {
			t.Errorf("%s: data (-file +ConfigMap):\n%s", m.Name, diff)
		}
	}
}
