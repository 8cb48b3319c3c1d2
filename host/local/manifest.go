package local

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/secretvm/secretvm/vm"
)

// predicted returns what the manifest says of a shape, if it does.
func predicted(m vm.Manifest, s vm.Shape) (vm.Prediction, bool) {
	i := slices.IndexFunc(m.Predictions, func(p vm.Prediction) bool { return p.Shape == s })
	if i < 0 {
		return vm.Prediction{}, false
	}
	return m.Predictions[i], true
}

// checkPrediction refuses a manifest that says something else of the shape than
// the image's files give: nobody could verify the machine with it.
func (im Image) checkPrediction() error {
	if p, is := predicted(im.Manifest, im.Prediction.Shape); is && p != im.Prediction {
		return fmt.Errorf("read image in %s: for %s its manifest predicts other registers than its files give (build the image again)", im.Folder, p.Shape)
	}
	return nil
}

// manifestFor returns the file with which a machine of the image is verified: the
// image's manifest or, where that does not predict the shape, a copy in the
// machine's folder with the prediction that up made from the image's files. A
// verifier who does not take up's word makes it anew with secretvm measure.
func (im Image) manifestFor(folder string) (file string, added bool, err error) {
	if _, is := predicted(im.Manifest, im.Prediction.Shape); is {
		return filepath.Join(im.Folder, vm.ManifestName), false, nil
	}
	m := im.Manifest
	m.Predictions = append(slices.Clone(m.Predictions), im.Prediction)
	text, err := m.Encode()
	if err != nil {
		return "", false, err
	}
	file = filepath.Join(folder, vm.ManifestName)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return "", false, fmt.Errorf("write the manifest for %s: %w", im.Prediction.Shape, err)
	}
	return file, true, nil
}
