"""What came of a round."""


class Round:
    def __init__(self, storm, choice):
        self.storm, self.choice = storm, choice
        self.truth = self.entry = self.left = self.departure = self.course = None
        self.cut_starts, self.troubles = [], []
        self.final_values = self.final_values_missed = 0
        self.missing_footage = 0.0
        self.files = self.undecodable = 0

    def add_trouble(self, *troubles):
        for trouble in troubles:
            self.troubles.append(trouble)
            self.storm.tell(self.choice, trouble)

    def note_final_values(self, servers, missed):
        self.final_values += len(self.last_word) * len(servers)
        self.final_values_missed += missed
        if missed:
            self.add_trouble(f"{missed} final values missed")
